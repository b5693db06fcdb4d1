"""Models in and out of folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tempering.core.errors import ModelError, RunError
from tempering.models import Manifest, build, load, read_manifest, save, weights_hash


def manifest(architecture: dict[str, Any] | str) -> Manifest:
    return Manifest(
        architecture=architecture,
        classes=["a", "b", "c"],
        shape=(1, 8, 8),
        threat="linf:0.3",
        data="digits",
        data_hash="0" * 16,
        split="official",
        seed=3,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = build("strided_cnn", (1, 8, 8), 3, seed=5, width=2, hidden=4)
    save(model, tmp_path / "run", manifest(model.architecture))
    return tmp_path / "run"


def respell(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "manifest.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_a_model_comes_back(folder: Path, name: str) -> None:
    original = build("strided_cnn", (1, 8, 8), 3, seed=5, width=2, hidden=4).eval()
    loaded = load(folder / name)
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(loaded.model(x), original(x))
    assert not loaded.model.training
    assert loaded.model.adversarial_class == 3
    assert loaded.manifest.weights == weights_hash(original)
    assert (loaded.manifest.seed, loaded.manifest.classes) == (3, ["a", "b", "c"])
    assert torch.__version__.startswith(loaded.manifest.versions["torch"])
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "model.safetensors"]


def test_tied_weights_are_kept(tmp_path: Path) -> None:
    (tmp_path / "tied.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4))\n"
        "    net[2].weight = net[1].weight\n"
        "    return net\n",
        encoding="utf-8",
    )
    spec = f"{tmp_path / 'tied.py'}:build"
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[1].weight
    save(model, tmp_path / "run", manifest(spec))
    twin = load(tmp_path / "run", factory=spec).model
    assert twin[2].weight is twin[1].weight
    assert torch.equal(twin[1].weight, model[1].weight)


def test_altered_weights_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors was altered: its hash is"):
        load(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"model\.safetensors is truncated"):
        load(folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model at .*nowhere: give a run folder"):
        load(tmp_path / "nowhere")
    (folder / "manifest.json").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*manifest\.json: No such file"):
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no model at"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("classes"), "classes: Field required"),
        (lambda m: m.update(extra=1), "extra: Extra inputs"),
        (lambda m: m.update(shape=[1, 8]), r"shape\.2: Field required"),
        (lambda m: m["architecture"].update(name="vgg"), "unknown model 'vgg'"),
        (lambda m: m["architecture"]["options"].update(width=0), "width 0: give at least 1"),
        (lambda m: m["architecture"]["options"].update(width="x"), "do not fit strided_cnn"),
        (lambda m: m["architecture"]["options"].update(hidden=10**15), "manifest.json: "),
        (lambda m: m["architecture"]["options"].update(layers=3), "unknown option of strided_cnn"),
        (
            lambda m: m["architecture"]["options"].update(shape=[1]),
            "multiple values for argument 'shape'",
        ),
        (lambda m: m["architecture"].update(classes=1), r"architecture\.classes: .*give name"),
        (lambda m: m["architecture"].update(classes=4), "does not fit the model: output.weight"),
        (lambda m: m["architecture"]["options"].update(hidden=5), "does not fit the model"),
    ],
)
def test_a_manifest_that_is_not_understood_is_named(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    respell(folder, change)
    with pytest.raises(ModelError, match=message) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "\x00"])
def test_a_manifest_that_is_no_manifest_is_named(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"manifest\.json is not a manifest of Tempering"
    ) as caught:
        read_manifest(folder)
    assert "\n" not in str(caught.value)


def test_code_that_a_manifest_names_is_run_only_if_the_caller_names_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import pathlib\n"
        "pathlib.Path(__file__).with_name('ran').touch()\n"
        "from torch import nn\n"
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n",
        encoding="utf-8",
    )
    spec = f"{tmp_path / 'mine.py'}:build"
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    save(model, tmp_path / "run", manifest(spec))
    with pytest.raises(ModelError, match=r"was built by your own code, .*give --model"):
        load(tmp_path / "run")
    assert not (tmp_path / "ran").exists()
    assert weights_hash(load(tmp_path / "run", factory=spec).model) == weights_hash(model)


def test_a_folder_that_cannot_be_written_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    model = build("strided_cnn", (1, 8, 8), 3, width=2, hidden=4)
    with pytest.raises(RunError, match="cannot write"):
        save(model, tmp_path / "file" / "run", manifest(model.architecture))
