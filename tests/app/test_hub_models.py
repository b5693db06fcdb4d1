"""Commands on networks of timm and transformers, with stand-ins of both libraries."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tempering.core.notes import TemperingWarning
from tempering.models.manifest import read_manifest
from tests.app.running import TINY, Done, temper
from tests.models.hub.stand_ins import install_timm, install_transformers, write_folder

WORDS = ["--data", "npz:d.npz", "--threat", "linf:0.02"]
FEW = ["--samples", "6"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    install_timm(monkeypatch)
    install_transformers(monkeypatch)
    draws = np.random.default_rng(0)
    x = draws.random((80, 3, 8, 8)).astype("float32")
    y = np.arange(80) % 10
    np.savez(tmp_path / "d.npz", x=x[:60], y=y[:60], x_test=x[60:], y_test=y[60:])
    names = [f"bird {number}" for number in range(10)]
    write_folder(tmp_path / "vit", names=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TemperingWarning)
        yield tmp_path


def run(*words: str | Path, folder: Path) -> Done:
    done = temper(*words, folder=folder)
    assert done.code == 0, done.err
    return done


def test_models_of_libraries_are_evaluated_and_resumed(folder: Path) -> None:
    run("evaluate", "hf:vit", *WORDS, *FEW, "--attack", "fgsm", "--name", "birds", folder=folder)
    records = [json.loads(line) for line in (folder / "runs/birds/records.jsonl").open()]
    made = next(record for record in records if "recipe" in record)
    assert made["recipe"]["model"] == f"hf:{folder / 'vit'}"
    assert made["classes"][3] == "bird 3"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    again = run("certify", folder / "runs/birds", *FEW, "--seconds", "1", folder=elsewhere)
    assert "certified" in again.out


@pytest.mark.parametrize("address", ["timm:tiny", "hf:vit"])
@pytest.mark.parametrize(
    "words",
    [
        ["attack", "MODEL", *WORDS, *FEW, "--attack", "fgsm", "--out", "x.npz"],
        ["certify", "MODEL", *WORDS, *FEW, "--seconds", "1"],
        ["uncertainty", "MODEL", "--data", "npz:d.npz", "--samples", "10"],
        ["scan", "model", "MODEL", "--data", "npz:d.npz", "--samples", "20"],
        ["explain", "MODEL", *WORDS, "--samples", "2"],
    ],
    ids=lambda words: words[0] if isinstance(words, list) else words,
)
def test_commands_take_models_of_libraries(folder: Path, words: list[str], address: str) -> None:
    run(*(address if word == "MODEL" else word for word in words), folder=folder)


def test_a_hardened_network_of_timm_is_loaded_again(folder: Path) -> None:
    run(
        *("harden", "--recipe", TINY, "--model", "timm:tiny", *WORDS, "--samples", "6"),
        *("--no-surrogate", "--name", "mine"),
        folder=folder,
    )
    assert read_manifest(folder / "runs/mine").architecture == "timm:tiny"
    run("evaluate", "runs/mine", *FEW, "--attack", "fgsm", folder=folder)


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
