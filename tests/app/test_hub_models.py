"""Commands on networks of timm and transformers, with stand-ins of both libraries."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tempering.app.explained_models import run_folder
from tempering.app.load_inputs import InputAddress
from tempering.app.model_address import load_saved, load_surrogate
from tempering.app.networks import networks_for
from tempering.app.recipe import ModelSettings
from tempering.app.scan_model_address import ScanAddress
from tempering.attacks.surrogate_ref import SurrogateRef
from tempering.core.notes import TemperingWarning
from tempering.data.loading import load as load_data
from tempering.evaluation.evaluator import Evaluator
from tempering.models.manifest import read_manifest
from tempering.models.store import save
from tempering.training.objectives.rslad import RSLAD
from tests.app.running import TINY, Done, temper
from tests.models.hub.stand_ins import install_timm, install_transformers, write_folder

WORDS = ["--data", "npz:d.npz", "--threat", "linf:0.02"]
FEW = ["--samples", "6"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    install_timm(monkeypatch)
    install_transformers(monkeypatch)
    draws = np.random.default_rng(0)
    x = draws.random((240, 3, 8, 8)).astype("float32")
    y = np.arange(240) % 10
    np.savez(tmp_path / "d.npz", x=x[:200], y=y[:200], x_test=x[200:], y_test=y[200:])
    torch.manual_seed(0)
    names = [f"bird {number}" for number in range(10)]
    write_folder(tmp_path / "vit", names=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TemperingWarning)
        yield tmp_path


def run(*words: str | Path, folder: Path) -> Done:
    done = temper(*words, folder=folder)
    assert done.code == 0, done.err
    return done


def test_the_model_of_an_evaluation_is_found_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("evaluate", "hf:vit", *WORDS, *FEW, "--attack", "fgsm", "--name", "birds", folder=folder)
    records = list(map(json.loads, (folder / "runs/birds/records.jsonl").read_text().splitlines()))
    made = next(record for record in records if "recipe" in record)
    assert made["recipe"]["model"] == f"hf:{folder / 'vit'}"
    assert made["classes"][3] == "bird 3"
    monkeypatch.chdir("/")
    again = InputAddress(str(folder / "runs/birds"), data=f"npz:{folder / 'd.npz'}").load()
    assert list(again.splits.classes) == made["classes"]


def test_attacks_take_networks_of_timm(folder: Path) -> None:
    done = run(
        *("attack", "timm:tiny", *WORDS, *FEW, "--attack", "fgsm", "--out", "x.npz"), folder=folder
    )
    assert (folder / "x.npz").is_file(), done.out


@pytest.mark.parametrize("address", ["timm:tiny", "hf:vit"])
def test_inputs_of_all_commands_are_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(folder)
    inputs = InputAddress(address, data="npz:d.npz", threat="linf:0.1").load()
    module, splits, manifest = ScanAddress(address, data="npz:d.npz").load()
    x = splits.test.first(2).x
    assert torch.equal(inputs.model(x), module(x))
    assert torch.equal(load_surrogate(address, x)(x), module(x))
    assert torch.equal(SurrogateRef.of(address).network()(x), module(x))
    assert torch.equal(RSLAD(teacher=address).network(x), module(x))
    assert run_folder(address) is None
    assert manifest.factory_file == ""
    save(module, "repaired", manifest)
    monkeypatch.chdir("/")
    assert load_saved(str(folder / "repaired")).manifest == read_manifest(folder / "repaired")


def test_a_hardened_network_of_timm_is_loaded_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluator, "evaluate", stopped)
    words = ["harden", "--recipe", TINY, "--model", "timm:tiny", *WORDS, "--name", "mine"]
    assert temper(*words, *FEW, "--no-surrogate", folder=folder).code == 130
    saved = load_saved(str(folder / "runs/mine"))
    assert (saved.manifest.architecture, saved.manifest.factory_file) == ("timm:tiny", "")
    assert saved.manifest.shape == (3, 8, 8)


def test_networks_of_a_run_start_from_the_weights_of_the_library(folder: Path) -> None:
    splits = load_data(f"npz:{folder / 'd.npz'}")
    networks = networks_for(ModelSettings(name="timm:tiny"), splits, None, None)
    assert not networks.trained
    assert networks.architecture == "timm:tiny"
    biases = [build(1).network.fc.bias[0] for build in (networks.start, networks.fresh)]
    assert biases[0] == 7 != biases[1]


def test_grey_data_for_a_network_of_colours_are_refused(folder: Path) -> None:
    for words in (["--data", "digits"], []):
        done = temper("evaluate", "timm:tiny", *words, "--threat", "linf:0.1", folder=folder)
        assert done.code == 1
        assert "timm:tiny takes images of 3 channels, not 1: give data of 3 channels" in done.err
        assert done.err.count("\n") == 1


def test_fewer_outputs_than_classes_are_refused(folder: Path) -> None:
    write_folder(folder / "few", classes=3)
    done = temper("evaluate", "hf:few", *WORDS, folder=folder)
    assert done.code == 1
    assert "the model has 3 outputs but the labels of" in done.err


def test_a_missing_library_is_told_before_anything_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("tempering.models.hub.address.find_spec", lambda name: None)
    for command in (["evaluate"], ["harden", "--model"], ["scan", "model"]):
        done = temper(*command, "hf:org/name", folder=folder)
        assert done.code == 1
        said = "hf:org/name needs the library transformers: pip install 'tempering[transformers]'"
        assert done.err == f"error: {said}\n"
