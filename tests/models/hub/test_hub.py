"""Networks of timm and of transformers by their addresses, with stand-ins of both libraries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tempering.certification import certify
from tempering.core.errors import ModelError, UnknownNameError
from tempering.core.notes import TemperingWarning
from tempering.core.threats import Linf
from tempering.models.foreign import load_foreign, make_foreign
from tempering.models.hub.address import hub_of, is_foreign
from tempering.models.hub.preprocessed import Preprocessed
from tempering.models.manifest import Manifest
from tempering.models.own_code import load_beside
from tempering.models.store import load, save
from tests.models.hub.stand_ins import (
    MEAN,
    SIDE,
    STD,
    TinyNet,
    install_timm,
    install_transformers,
    write_folder,
)


def test_addresses_of_libraries_are_told_from_others() -> None:
    assert all(map(is_foreign, ("timm:tiny", "hf:org/name", "my.py:build")))
    assert not any(map(is_foreign, ("zoo:mnist-linf-0.1", "runs/latest", "timm", "x.safetensors")))
    assert hub_of("my.py:build") is None


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setattr("tempering.models.hub.address.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, library, raising=False)
    address = "timm:resnet18" if library == "timm" else "hf:org/name"
    with pytest.raises(ModelError) as told:
        load_foreign(address)
    said = f"{address} needs the library {library}: pip install 'tempering[{library}]'"
    assert str(told.value) == said


def test_a_library_that_cannot_be_imported_is_told_from_a_hub_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "timm.py").write_text("import torchvision_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(ModelError) as told:
        load_foreign("timm:resnet18")
    message = str(told.value)
    assert message.startswith("timm:resnet18 needs timm, which fails to load: ModuleNotFoundError")
    assert message.endswith("pip install 'tempering[timm]'")


def test_networks_of_libraries_can_be_certified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_timm(monkeypatch)
    install_transformers(monkeypatch)
    for address in ("timm:tiny", f"hf:{write_folder(tmp_path / 'vit')}"):
        model = load_foreign(address)
        x = torch.rand(3, 3, 8, 8)
        verdicts = certify(model, x, model(x).argmax(1), Linf(1e-4))
        assert verdicts.unsupported is None
        assert bool(verdicts.certified.any())


def test_networks_of_timm_normalise_as_their_configuration_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = install_timm(monkeypatch)
    model = load_foreign("timm:tiny")
    x = torch.rand(2, 3, SIDE, SIDE)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    assert isinstance(model, Preprocessed)
    assert torch.allclose(model(x), model.network((x - mean) / std))
    assert model.network.fc.bias[0] == 7
    assert not model.training
    assert asked == [True]


def test_weights_of_ones_own_replace_those_of_timm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = install_timm(monkeypatch)
    trained = TinyNet(classes=4)
    torch.save(trained.state_dict(), tmp_path / "mine.pth")
    model = load_foreign("timm:tiny", tmp_path / "mine.pth")
    assert not any(asked)
    assert torch.equal(model.network.fc.weight, trained.fc.weight)
    again = tmp_path / "whole.safetensors"
    save_file(model.state_dict(), again)
    assert torch.equal(load_foreign("timm:tiny", again).network.fc.weight, trained.fc.weight)


def test_images_of_another_size_are_resized_inside_with_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_timm(monkeypatch)
    for side in (8, 40):
        x = torch.rand(1, 3, side, side, requires_grad=True)
        said = f"timm:tiny takes images of 16 x 16: those of {side} x {side} are resized inside"
        with pytest.warns(TemperingWarning, match=said):
            model = load_foreign("timm:tiny", x=x)
        model(x).sum().backward()
        assert x.grad is not None
        assert bool((x.grad != 0).all())


def test_images_with_other_channels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install_timm(monkeypatch)
    with pytest.raises(ModelError, match="timm:tiny takes images of 3 channels, not 1: give data"):
        load_foreign("timm:tiny", x=torch.rand(1, 1, SIDE, SIDE))


def test_unknown_names_and_an_unreachable_hub_are_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_timm(monkeypatch, reachable=False)
    install_transformers(monkeypatch)
    with pytest.raises(UnknownNameError, match="unknown timm model 'tyni': did you mean tiny"):
        load_foreign("timm:tyni")
    for address in ("timm:tiny", "hf:org/name"):
        with pytest.raises(ModelError) as told:
            load_foreign(address)
        message = str(told.value)
        assert message.startswith(f"{address} cannot be loaded: ")
        assert message.endswith("check the name and the connection to the Hugging Face hub")
        assert "\n" not in message
    assert isinstance(make_foreign("timm:tiny"), Preprocessed)


def test_models_of_transformers_normalise_as_their_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = install_transformers(monkeypatch)
    folder = write_folder(tmp_path / "vit", names=["cat", "dog", "owl"])
    model = load_foreign(f"hf:{folder}")
    x = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    weights = load_file(folder / "model.safetensors")
    logits = ((x - mean) / std).flatten(1) @ weights["classifier.weight"].T
    assert torch.allclose(model(x), logits + weights["classifier.bias"], atol=1e-5)
    assert model.class_names == ("cat", "dog", "owl")
    assert calls == [
        {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    ]


@pytest.mark.parametrize(
    ("processor", "size"),
    [
        ({"do_rescale": False, "image_mean": [9.0] * 3, "image_std": [99.0] * 3}, (8, 8)),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, (8, 8)),
        ({"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": 8}, (8, 8)),
        ({"size": {"shortest_edge": 8}}, (8, 8)),
        ({"do_resize": False}, None),
    ],
)
def test_other_processors_are_followed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    processor: dict[str, object],
    size: tuple[int, int] | None,
) -> None:
    install_transformers(monkeypatch)
    model = load_foreign(f"hf:{write_folder(tmp_path / 'vit', **processor)}")
    assert model.stages.size == size
    assert model.class_names == ()


def test_processors_that_do_more_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_transformers(monkeypatch)
    with pytest.raises(ModelError, match="its Processor does more than resize, rescale and"):
        load_foreign(f"hf:{write_folder(tmp_path / 'vit', twist=0.5)}")


def test_layers_without_weights_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_transformers(monkeypatch)
    folder = write_folder(tmp_path / "vit")
    save_file({"other": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"has no weights for classifier\.bias, which would be"):
        load_foreign(f"hf:{folder}")


def test_folders_without_safetensors_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_transformers(monkeypatch)
    folder = write_folder(tmp_path / "vit")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no model.safetensors in .*, since nothing is unpickled"):
        load_foreign(f"hf:{folder}")
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config.json in .*: give hf: a folder"):
        load_foreign(f"hf:{folder}")


def test_saved_models_are_built_again_by_their_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = install_timm(monkeypatch)
    torch.save(TinyNet(classes=4).state_dict(), tmp_path / "mine.pth")
    model = load_foreign("timm:tiny", tmp_path / "mine.pth")
    manifest = Manifest(architecture="timm:tiny", classes=list("abcd"), shape=(3, SIDE, SIDE))
    save(model, tmp_path / "run", manifest)
    x = torch.rand(2, 3, SIDE, SIDE)
    for again in (load(tmp_path / "run").model, load_beside(tmp_path / "run")):
        assert torch.equal(again(x), model(x))
    assert not any(asked)
