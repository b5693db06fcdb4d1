"""Whatever is wrong is named in one line, with what would be right; nothing is left behind."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tempering.data.sources import mnist
from tests.app.conftest import Hardened
from tests.app.running import TINY, Done, temper

FACTORIES = """
from torch import nn

def net(outputs=10, pixels=64):
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, outputs))

def good(): return net()
def text(): return "a network"
def probabilities(): return nn.Sequential(net(), nn.Softmax(dim=1))
def few(): return net(outputs=7)
def large(): return net(pixels=784)
def coloured(): return nn.Sequential(nn.Conv2d(3, 10, 8), nn.Flatten())
def lists():
    class Lists(nn.Linear):
        def forward(self, x): return [0.0] * len(x)
    return Lists(1, 1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my.py").write_text(FACTORIES, encoding="utf-8")
    return tmp_path


def refused(done: Done, code: int, message: str) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    assert re.fullmatch(r"error: .+\n", done.err), done.err
    assert re.search(message, done.err), done.err


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.suffix not in (".py", ".pyc")} - {
        "__pycache__"
    }


def npz(folder: Path, **changes: Any) -> str:
    n = 60
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random((n, 8, 8)).astype(np.float32), "y": np.arange(n) % 10}
    np.savez(folder / "data.npz", **(arrays | {k: v(arrays) for k, v in changes.items()}))
    return "npz:data.npz"


def poisoned(value: float) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    def change(arrays: dict[str, np.ndarray]) -> np.ndarray:
        x = arrays["x"].copy()
        x[17, 3, 4] = value
        return x

    return change


def labelled(value: int) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    def change(arrays: dict[str, np.ndarray]) -> np.ndarray:
        y = arrays["y"].copy()
        y[23] = value
        return y

    return change


TEN = {"classes": lambda _: np.array(list("0123456789"))}

DATA: list[tuple[dict[str, Any], str]] = [
    (
        {"x": lambda a: a["x"] * 255},
        r"image 0 has the value 162\.4.*: did you forget to divide by",
    ),
    ({"x": lambda a: (a["x"] * 255).astype(np.int64)}, "int64: give uint8 in 0..255 or floats"),
    ({"x": poisoned(np.nan)}, "image 17.*nan.*give finite values"),
    ({"x": poisoned(np.inf)}, "image 17.*inf.*give finite values"),
    ({"x": poisoned(-0.5)}, r"image 17.*-0\.5.*give values in \[0, 1\]"),
    ({"x": lambda a: a["x"][:0], "y": lambda a: a["y"][:0]}, "no images.*give at least one"),
    ({"x": lambda a: a["x"].reshape(60, 64)}, r"shape \(60, 64\): give \(n, height, width\)"),
    ({"x": lambda a: a["x"][..., None].repeat(3, 3)}, "channels last.*give"),
    ({"x": lambda a: a["x"][:50]}, "50 images but 60 labels: give one label per image"),
    ({"y": labelled(-1)}, "label -1 at index 23 is negative: number the classes from 0"),
    ({"y": labelled(10), **TEN}, "label 10 at index 23 is outside 0 to 9: give a class index"),
    ({"y": lambda a: a["y"] + 0.5}, "label 0.5 at index 0.*give integers"),
    ({"y": lambda a: a["y"] * 0}, "give at least two"),
]


@pytest.mark.parametrize(("changes", "message"), DATA, ids=[message[:20] for _, message in DATA])
@pytest.mark.parametrize("command", ["harden", "inspect"])
def test_data_that_cannot_be_trusted(
    folder: Path, changes: dict[str, Any], message: str, command: str
) -> None:
    address = npz(folder, **changes)
    words: tuple[str | Path, ...] = ("data", "inspect", address)
    if command == "harden":
        words = ("harden", "--recipe", TINY, "--data", address)
    refused(temper(*words, folder=folder), 1, message)
    assert left(folder) == {"data.npz"}


MODELS = [
    ("text", "text returned str, no network: give a torch.nn.Module"),
    ("few", "7 outputs but the labels of digits/.* go up to 9: give .*with at least 10 outputs"),
    (
        "large",
        r"fails on images of shape \(1, 8, 8\).*: correct the model, or give images",
    ),
    (
        "coloured",
        r"fails on images of shape \(1, 8, 8\).*: correct the model, or give images",
    ),
    ("lists", "returned list, not a tensor: return logits"),
    ("absent", r"no absent in my\.py: it defines net, good"),
]


@pytest.mark.parametrize(("factory", "message"), MODELS, ids=[name for name, _ in MODELS])
@pytest.mark.parametrize("command", ["harden", "evaluate"])
def test_models_that_are_no_classifiers_of_the_data(
    folder: Path, factory: str, message: str, command: str
) -> None:
    address = f"my.py:{factory}"
    words: tuple[str | Path, ...] = ("evaluate", address, "--threat", "linf:0.1")
    if command == "harden":
        words = ("harden", "--recipe", TINY, "--model", address)
    refused(temper(*words, "--data", "digits", folder=folder), 1, message)
    assert left(folder) == set()


def test_probabilities_are_not_hardened(folder: Path) -> None:
    words = ("harden", "--recipe", TINY, "--model", "my.py:probabilities", "--data", "digits")
    message = r"returns probabilities: return logits \(remove the softmax\)"
    refused(temper(*words, folder=folder), 1, message)
    assert left(folder) == set()


def saved(folder: Path, name: str) -> str:
    path = folder / name
    match name:
        case "other.pth":
            torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 9)).state_dict(), path)
        case "whole.pt":
            torch.save(nn.Linear(2, 2), path)
        case "cut.pth":
            torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict(), path)
            path.write_bytes(path.read_bytes()[:300])
        case "cut.safetensors":
            path.write_bytes(b"\x10\x00\x00")
        case "model.bin":
            path.touch()
    return name


WEIGHTS = [
    ("other.pth", r"other\.pth does not fit the model: 1\.weight has shape \(9, 64\) in the file"),
    ("whole.pt", r"whole\.pt was refused: .* could run code when loaded: save model\.state_dict"),
    ("cut.pth", r"cut\.pth is truncated"),
    ("cut.safetensors", r"cut\.safetensors is truncated or not a safetensors file"),
    ("model.bin", r"model\.bin of unknown type: give a \.safetensors, \.pt or \.pth file"),
    ("none.pth", r"no weights at none\.pth"),
]


@pytest.mark.parametrize(("name", "message"), WEIGHTS, ids=[name for name, _ in WEIGHTS])
@pytest.mark.parametrize("command", ["harden", "evaluate"])
def test_weights_that_do_not_fit(folder: Path, name: str, message: str, command: str) -> None:
    saved(folder, name)
    words: tuple[str | Path, ...] = ("evaluate", "my.py:good", "--threat", "linf:0.1")
    if command == "harden":
        words = ("harden", "--recipe", TINY, "--model", "my.py:good")
    done = temper(*words, "--data", "digits", "--weights", name, folder=folder)
    refused(done, 1, message)
    assert left(folder) <= {name}


def test_a_model_that_is_missing_is_named_as_it_was_typed(folder: Path) -> None:
    done = temper("evaluate", "no/such/run", folder=folder)
    refused(done, 1, "error: no model at no/such/run: give a run folder")


WRONG = [
    (("harden", "--threat", "linf:8"), r"linf eps 8 .*: did you mean 8/255\?"),
    (("harden", "--threat", "linf:-1"), "eps -1.* is not a radius"),
    (("harden", "--threat", "linf:nan"), "eps nan is not a radius: give a finite number"),
    (("harden", "--threat", "linf"), r"threat 'linf' is not NORM:EPS .*: write it as linf:0\.3"),
    (("harden", "--threat", "l0:5"), "does not attack in l0: it knows linf, l2, l1"),
    (("harden", "--recipe", "defualt"), "unknown recipe 'defualt': did you mean default"),
    (("harden", "--recipe", "none.toml"), r"cannot read recipe .*none\.toml"),
    (("harden", "--data", "minst"), "unknown data source 'minst': did you mean mnist"),
    (("harden", "--data", "npz"), "npz needs an argument: write npz:FILE"),
    (("harden", "--split", "oficial"), "unknown split 'oficial': did you mean official"),
    (("harden", "--model", "strided_cn"), "unknown model 'strided_cn': did you mean strided_cnn"),
    (("harden", "--samples", "360"), r"360 test samples asked of digits/test.*give at most 3\d\d"),
    (("harden", "--samples", "0"), "evaluation.samples = 0: .*greater than or equal to 1"),
    (("harden", "--weights", "my.pth"), r"weights my\.pth for the model 'strided_cnn'"),
    (("harden", "--name", "a/b"), "name 'a/b': give letters, digits, dots and dashes"),
    (("harden", "--name", "latest"), "name 'latest'"),
    (("harden", "--name", ".."), r"name '\.\.'"),
    (("harden", "--set", "sead=3"), "unknown key sead in the recipe: did you mean seed"),
    (("harden", "--set", "seed"), "'seed' is not KEY=VALUE"),
    (("harden", "--set", "evaluation.attacks=['pdg']"), "unknown attack 'pdg': did you mean pgd"),
    (("harden", "--set", "model.options.widht=3"), "'widht': did you mean width"),
    (("harden", "--set", "model.options.width=0"), "width 0: give at least 1"),
    (("harden", "--set", "precision=half"), "precision = 'half'"),
    (("harden", "--resume", "runs/x", "--seed", "3"), "--resume continues with the settings"),
    (("evaluate", "my.py:good"), r"no threat for my\.py:good: give one, such as --threat linf"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_calls_start_nothing(folder: Path, words: tuple[str, ...], message: str) -> None:
    extra: tuple[str | Path, ...] = ()
    if words[0] == "harden" and not {"--recipe", "--resume"} & set(words):
        extra = ("--recipe", TINY)
    refused(temper(*words, *extra, folder=folder), 2, message)
    assert left(folder) == set()


EVALUATIONS = [
    (("--threat", "linf:8"), r"did you mean 8/255\?"),
    (("--attack", "pdg"), "unknown attack 'pdg': did you mean pgd"),
    (("--attack", "pgd:steps=x"), "pgd: steps = 'x': give a whole number"),
    (("--attack", "cw-l2"), "cw-l2 does not attack in linf: it knows l2"),
    (("--data", "digit"), "unknown data source 'digit': did you mean digits"),
    (("--split", "papre"), "unknown split 'papre': did you mean paper"),
    (("--samples", "0"), "0 samples of digits/test, which has 3.*give 1 to 3"),
    (("--samples", "2000"), "2000 samples of digits/test, which has 3.*give 1 to 3"),
    (("--weights", "my.pth"), "which has its own: leave --weights out"),
    (("--name", "a b"), "name 'a b': give letters"),
    (("--access", "grey"), "access 'grey': give one of white, gray, black, all"),
    (("--attack", "fgsm", "--access", "black"), "access 'black' with attacks of your own.*leave"),
]


@pytest.mark.parametrize(
    ("words", "message"), EVALUATIONS, ids=[" ".join(w) for w, _ in EVALUATIONS]
)
def test_wrong_evaluations_start_nothing(
    hardened: Hardened, folder: Path, words: tuple[str, ...], message: str
) -> None:
    refused(temper("evaluate", hardened.run, *words, folder=folder), 2, message)
    assert left(folder) == set()


def test_a_model_meets_data_of_another_size(hardened: Hardened, folder: Path) -> None:
    address = npz(folder, x=lambda a: np.zeros((60, 12, 12), np.float32) + a["x"][:, :1, :1])
    done = temper("evaluate", hardened.run, "--data", address, folder=folder)
    refused(
        done,
        1,
        r"fails on images of shape \(1, 12, 12\).*correct the model, or give images",
    )
    assert left(folder) == {"data.npz"}


def test_a_model_meets_more_classes_than_it_has_outputs(hardened: Hardened, folder: Path) -> None:
    address = npz(folder, y=lambda a: np.arange(60) % 15)
    done = temper("evaluate", hardened.run, "--data", address, folder=folder)
    refused(done, 1, r"1\d outputs but the labels of .* go up to 14: .*at least 15 outputs|"
                     "adversarial class but the labels of .* go up to 14")  # fmt: skip


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"no model at copy: give a run folder, a \.safetensors file"),
        ("no manifest", r"cannot read .*manifest\.json: No such file"),
        ("bad manifest", r"manifest\.json is not a manifest of Tempering"),
        ("truncated", r"model\.safetensors is truncated or not a safetensors file"),
        ("altered", r"model\.safetensors was altered: its hash is [0-9a-f]{16}, the manifest says"),
    ],
)
def test_a_saved_model_that_is_damaged(
    hardened: Hardened, folder: Path, how: str, message: str
) -> None:
    copy = folder / "copy"
    if how != "missing":
        shutil.copytree(hardened.run, copy)
        weights, manifest = copy / "model.safetensors", copy / "manifest.json"
        content = weights.read_bytes()
        match how:
            case "no manifest":
                manifest.unlink()
            case "bad manifest":
                manifest.write_text("{}", encoding="utf-8")
            case "truncated":
                weights.write_bytes(content[:-100])
            case "altered":
                weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(temper("evaluate", "copy", folder=folder), 1, message)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("name", "how"),
    [("train-images-idx3-ubyte.gz", "truncated"), ("train-labels-idx1-ubyte.gz", "altered"),
     ("train-images-idx3-ubyte.gz", "missing")],
)  # fmt: skip
def test_a_bundled_file_that_is_not_what_was_bundled(
    folder: Path, name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = folder / "bundle.py"
    bundle.mkdir()
    for file in mnist.BUNDLED.iterdir():
        (bundle / file.name).symlink_to(file)
    content = (bundle / name).read_bytes()
    (bundle / name).unlink()
    if how == "truncated":
        (bundle / name).write_bytes(content[: len(content) // 2])
    elif how == "altered":
        middle = len(content) // 2
        changed = bytes([content[middle] ^ 255])
        (bundle / name).write_bytes(content[:middle] + changed + content[middle + 1 :])
    monkeypatch.setattr(mnist.read_mnist, "__defaults__", ("", bundle))
    message = rf"bundled .*{re.escape(name)}.*: install tempering again"
    refused(temper("harden", folder=folder), 1, message)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("command", ["harden", "evaluate"])
def test_a_place_where_no_run_can_be_written(
    hardened: Hardened, folder: Path, command: str
) -> None:
    (folder / "runs").write_text("not a folder", encoding="utf-8")
    words = ("harden", "--recipe", TINY) if command == "harden" else ("evaluate", hardened.run)
    done = temper(*words, folder=folder)
    refused(done, 1, r"cannot make \S*runs/\S+: .*: give a folder with write permission")
    assert (folder / "runs").read_text(encoding="utf-8") == "not a folder"


def test_a_name_that_is_taken(hardened: Hardened) -> None:
    before = (hardened.run / "summary.json").stat().st_mtime_ns
    done = temper("harden", "--recipe", TINY, "--name", "tiny", folder=hardened.folder)
    refused(done, 2, r"there is a run .*runs/tiny already: give another name, or resume that run")
    assert (hardened.run / "summary.json").stat().st_mtime_ns == before


def test_resuming_nothing(folder: Path) -> None:
    refused(temper("harden", "--resume", "runs/none", folder=folder), 1, "no run at runs/none")
    assert left(folder) == set()
    (folder / "empty").mkdir()
    done = temper("harden", "--resume", "empty", folder=folder)
    refused(done, 1, r"empty is no run to resume: .*run\.json cannot be read")
    assert list((folder / "empty").iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"recipe": {}}'])
def test_resuming_a_run_whose_settings_are_damaged(folder: Path, content: str) -> None:
    settings = folder / "run" / "checkpoint" / "run.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(content, encoding="utf-8")
    refused(temper("harden", "--resume", "run", folder=folder), 1, r"run\.json|no run to resume")


def test_resuming_with_data_that_changed(folder: Path) -> None:
    address = npz(folder)
    few = ["evaluation.curve=none", "evaluation.minimum_norm=none", "evaluation.surrogate=false",
           "evaluation.samples=5"]  # fmt: skip
    sets = [word for one in few for word in ("--set", one)]
    words = ("harden", "--recipe", TINY, "--data", address, *sets, "--name", "one")
    assert temper(*words, folder=folder).code == 0
    npz(folder, x=poisoned(0.5))
    done = temper("harden", "--resume", "runs/one", folder=folder)
    refused(done, 1, "the data npz:data.npz has changed since .*runs/one was begun")


def test_inspecting_into_a_place_that_cannot_be_written(folder: Path) -> None:
    (folder / "file").touch()
    done = temper("data", "inspect", "digits", "--picture", "file/a.png", folder=folder)
    refused(done, 1, r"cannot write file/a\.png: .*: give a folder with write permission")


def test_a_report_of_nothing(folder: Path) -> None:
    refused(temper("report", folder=folder), 1, r"cannot read runs/latest")
    refused(temper("report", "none", folder=folder), 1, r"cannot read none/records\.jsonl")
    assert left(folder) == set()


def test_a_report_of_records_that_were_altered(hardened: Hardened, folder: Path) -> None:
    shutil.copytree(hardened.run, folder / "copy")
    with (folder / "copy" / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    refused(temper("report", "copy", folder=folder), 1, r"records\.jsonl line \d+ is not a record")
