"""Warnings and refusals before anything runs: eps, missing weights, the default data."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tempering as tp
from tempering.app.default_data import shape_taken
from tempering.core.errors import ModelError, TemperingError
from tempering.core.notes import TemperingWarning
from tempering.data.dataset import Dataset
from tests.app.running import temper

FILE = """
from torch import nn

def photos():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(3600, 10))

def any_photos():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )

def lazy():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(10))

def four():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 4))

def digits():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
WORDS = ("--threat", "linf:0.01", "--samples", "4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my.py").write_text(FILE, encoding="utf-8")
    return tmp_path


def noise(side: int = 8, channels: int = 1, n: int = 40) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    return Dataset.of(torch.rand(n, channels, side, side, generator=generator), torch.arange(n) % 2)


def net(pixels: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 2))


def jobs(model: nn.Module, data: Dataset, threat: Any) -> dict[str, Callable[[], Any]]:
    return {
        "evaluate": lambda: tp.evaluate(model, data, threat, attacks="fgsm", samples=2),
        "attack": lambda: tp.attack(model, data, threat, "fgsm", samples=2),
        "certify": lambda: tp.certify(model, data, threat, methods="interval", samples=2),
    }


@pytest.mark.parametrize("job", ["evaluate", "attack", "certify"])
def test_every_job_warns_of_a_large_eps(job: str) -> None:
    run = jobs(net(3 * 32 * 32), noise(32, 3), "linf:0.3")[job]
    with pytest.warns(TemperingWarning, match=r"linf:0.3 is 76.5/255 on colour images of 3x32x32"):
        run()


def test_hardening_warns_of_a_large_eps_and_refuses_an_impossible_one(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StopError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempering.app.harden.networks_for", stop)
        photos = tp.data.Splits.of(noise(32, 3))
        with (
            pytest.warns(TemperingWarning, match="usual eps is linf:8/255"),
            pytest.raises(StopError),
        ):
            tp.harden(net(3 * 32 * 32), photos, "linf:0.3", runs=tmp_path)
        with pytest.raises(TemperingError, match="l2:1e\\+09 allows every image"):
            tp.harden(net(64), noise(), "l2:1e9", runs=tmp_path)


@pytest.mark.parametrize(
    ("threat", "message"),
    [("l2:1e9", "allows every image"), (tp.L0(1.5), "give a whole number")],
    ids=["l2", "l0"],
)
def test_every_job_refuses_an_impossible_eps(threat: Any, message: str) -> None:
    model, data = net(64), noise()
    attack = "sigma-zero" if message.startswith("give") else "fgsm"
    with pytest.raises(TemperingError, match=message):
        tp.evaluate(model, data, threat)
    with pytest.raises(TemperingError, match=message):
        tp.certify(model, data, threat)
    with pytest.raises(TemperingError, match=message):
        tp.attack(model, data, threat, attack)


@pytest.mark.parametrize(
    ("factory", "shape"), [("photos", r"\(3, 32, 32\)"), ("any_photos", r"\(3, height, width\)")]
)
@pytest.mark.parametrize("command", ["evaluate", "attack", "certify", "harden"])
def test_the_default_data_is_refused_for_a_model_of_another_shape(
    folder: Path, command: str, factory: str, shape: str
) -> None:
    words = [command, f"my.py:{factory}", *WORDS]
    if command == "harden":
        words = [command, "--model", f"my.py:{factory}", "--threat", "linf:0.01"]
    if command == "attack":
        words += ["--attack", "fgsm", "--out", "x.npz"]
    done = temper(*words, folder=folder)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    told = f"my.py:{factory} takes images of shape {shape}, not those of mnist, the default data"
    assert re.search(told + r", of shape \(1, 28, 28\): give the model's data, --data", done.err)
    assert not (folder / "runs").exists()


def test_lazy_layers_and_modules_are_refused_too(folder: Path) -> None:
    done = temper("evaluate", "my.py:lazy", *WORDS, folder=folder)
    assert "my.py:lazy takes images of shape (3, height, width), not those of mnist" in done.err
    photos = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(3600, 10))
    with pytest.raises(ModelError, match=r"the model, a Sequential, takes .*\(3, 32, 32\)"):
        tp.harden(photos, threat="linf:0.01", runs=folder / "runs")


@pytest.mark.parametrize("command", ["evaluate", "harden"])
def test_the_default_data_is_refused_for_a_model_of_fewer_classes(
    folder: Path, command: str
) -> None:
    words = ["evaluate", "my.py:four", *WORDS]
    if command == "harden":
        words = ["harden", "--model", "my.py:four", "--threat", "linf:0.01"]
    done = temper(*words, folder=folder)
    assert done.code == 1
    told = "my.py:four has 4 outputs but the labels of mnist, the default data, go up to 9: give"
    assert f"{told} the model's data, --data or data=..." in done.err


def test_data_that_is_named_is_not_called_the_default(folder: Path) -> None:
    done = temper("evaluate", "my.py:photos", "--data", "digits", *WORDS, folder=folder)
    assert done.code == 1
    assert "default" not in done.err
    assert "of shape (1, 8, 8)" in done.err


def test_shapes_are_found_from_the_first_layer() -> None:
    assert shape_taken(net(3 * 48 * 48)) == "(3, 48, 48)"
    assert shape_taken(net(7)) is None


@pytest.mark.parametrize("command", ["evaluate", "attack", "certify"])
def test_a_model_without_weights_that_guesses_is_named(folder: Path, command: str) -> None:
    words = [command, "my.py:digits", "--data", "digits", *WORDS]
    if command == "evaluate":
        words += ["--attack", "fgsm"]
    if command == "attack":
        words += ["--attack", "fgsm", "--out", "x.npz"]
    with warnings.catch_warnings():
        warnings.simplefilter("always", TemperingWarning)
        done = temper(*words, folder=folder)
    assert done.code == 0, done.err
    assert re.search(
        r"^warning: my.py:digits was built without --weights and classifies \d+ of 64 test images",
        done.err,
    )


def test_nothing_is_said_of_weights_that_are_given_or_needless(folder: Path) -> None:
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict(), folder / "x.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = temper(
            "certify", "my.py:digits", "--weights", "x.pth", "--data", "digits", *WORDS,
            folder=folder,
        )  # fmt: skip
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tp.parse_threat(3), "threat 3 is no text: write it as linf:0.3"),
        (lambda: tp.models.load(3), "model 3 is no path"),
        (lambda: tp.models.load_foreign(3), "model 3 is no text: give file.py:factory"),
        (lambda: tp.models.load_foreign("my.py:f", 3), "weights 3 is no path"),
        (lambda: tp.models.build("paper_cnn", (1, 8, 8), 2, seed="a"), "seed 'a': give a whole"),
        (lambda: tp.data.load("digits", seed="a"), "seed 'a': give a whole number"),
        (lambda: tp.data.load("digits", split=[3]), r"unknown split \[3\]"),
        (lambda: tp.data.load("digits", validation_share="a"), "validation share 'a'"),
        (lambda: tp.data.load("digits", keep=3), "keep 3 is no path"),
        (lambda: tp.parse_threat("linf:-1"), "linf eps -1 is not a radius"),
        (lambda: tp.parse_threat("linf:nan"), "linf eps nan is not a radius"),
        (lambda: tp.Patch(0.1, at=3), "patch at 3: give a row and a column"),
    ],
)
def test_values_of_the_wrong_type_are_named_in_one_line(
    call: Callable[[], object], message: str
) -> None:
    with pytest.raises(TemperingError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_wrong_threat_is_told_before_anything_about_the_model(folder: Path) -> None:
    words = ("my.py:digits", "--data", "digits", "--samples", "4", "--threat", "l2:300")
    done = temper("certify", *words, folder=folder)
    assert done.code == 2
    assert done.err.startswith("error: threat l2:300 allows every image")
    assert done.err.count("\n") == 1
    with pytest.raises(TemperingError, match="threat 7"):
        tp.certify(None, None, 7)  # type: ignore[arg-type]
