"""Defenses that `temper harden` refuses, before a run begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tempering as tp
from tempering.core.errors import ModelError, TemperingError, UsageError
from tempering.data.splits import Splits
from tempering.defenses import Mahalanobis, Pipeline
from tests.app.defending import OWN, RECIPE, command, short
from tests.app.running import temper


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def data() -> Splits:
    return tp.data.load("digits")


def test_a_detector_that_is_not_fitted_is_refused_in_a_given_pipeline(
    folder: Path, data: Splits
) -> None:
    net = tp.models.strided_cnn((1, 8, 8), width=4, hidden=16, adversarial_class=False)
    with pytest.raises(ModelError, match="Mahalanobis is not fitted: call fit"):
        short("bit_depth", model=Pipeline(net, detector=Mahalanobis(net)), data=data)
    assert not (folder / "runs").exists()


BAD = [
    ("jpg", "unknown defense 'jpg': did you mean jpeg.*[?] `temper list defenses` shows all"),
    ("jpeg:qualty=5", "unknown option of jpeg 'qualty': did you mean quality"),
    ("jpeg:quality=0", "jpeg quality 0: give a whole number from 1 to 95"),
    ("jpeg:quality=high", "jpeg: quality = 'high': give a whole number"),
    ("jpeg:quality", "'quality' in defense 'jpeg:quality' is not key=value"),
    ("jpeg,", "defense 'jpeg,': give names"),
    ("", "defense '': give names"),
    ("squeeze", "squeeze without low and high: write squeeze:low=VALUE,high=VALUE"),
    ("thermometer,jpeg", "jpeg on images of 16 channels: give images of 1 or 3 channels"),
    ("median:window=17", "median.* on images of 8 x 8 pixels"),
    ("mahalanobis,discriminator", "detectors mahalanobis and discriminator: give one of them"),
    ("mahalanobis:threshold=3", "mahalanobis: threshold is set when the detector is fitted"),
    ("mahalanobis:ridge=-1", "ridge -1.0: give more than 0"),
    ("mahalanobis:layer=last", "has no layer 'last': give one of"),
    ("adversarial_class", "has no adversarial class"),
    (3, "defense = 3: give a name"),
]


@pytest.mark.parametrize(("defense", "said"), BAD)
def test_bad_defenses_are_refused_in_one_line_before_a_run_begins(
    defense: Any, said: str, folder: Path
) -> None:
    with pytest.raises(TemperingError, match=said) as caught:
        short(defense)
    assert "\n" not in str(caught.value)
    assert not (folder / "runs").exists()


RATES = [
    ("mahalanobis", 0.0, "fpr 0: give a false-positive rate between 0 and 1"),
    ("mahalanobis", 1.0, "fpr 1: give a false-positive rate between 0 and 1"),
    ("mahalanobis", 0.0001, r"fpr 0.0001 on \d+ clean images: the finest rate is"),
    ("mahalanobis", "much", "fpr = 'much': give a finite number"),
    ("mahalanobis", float("nan"), "fpr = nan: give a finite number"),
    ("jpeg", 0.1, "fpr 0.1 without a detector"),
    (None, 0.1, "fpr 0.1 without a detector"),
]


@pytest.mark.parametrize(("defense", "fpr", "said"), RATES)
def test_bad_rates_are_refused_before_a_run_begins(
    defense: str | None, fpr: Any, said: str, folder: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        short(defense, fpr=fpr)
    assert not (folder / "runs").exists()


COMMANDS = [
    (("--defense", "jpg"), "unknown defense 'jpg': did you mean jpeg"),
    (("--defense", "jpeg", "--fpr", "0.1"), "fpr 0.1 without a detector"),
    (
        ("--defense", "jpeg", "--set", 'defenses.stages=["median"]'),
        "where defenses.stages is given as well",
    ),
    (
        ("--model", "own.py:build", "--defense", "thermometer"),
        "behind thermometer: the model fails on images of shape (16, 8, 8)",
    ),
    (("--model", "own.py:curved", "--defense", "mahalanobis"), "has no linear layer"),
    (
        ("--defense", "thermometer", "--set", "training.start=undefended"),
        "other weights than the undefended one",
    ),
    (("--resume", "runs/none", "--defense", "jpeg"), "--resume continues with the settings"),
]


@pytest.mark.parametrize(("words", "said"), COMMANDS)
def test_bad_commands_are_refused_in_one_line(
    words: tuple[str, ...], said: str, folder: Path
) -> None:
    recipe = () if "--resume" in words else ("--recipe", RECIPE)
    done = temper("harden", *recipe, *words, folder=folder)
    assert done.code != 0
    lines = done.err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (folder / "runs").exists()


@pytest.mark.filterwarnings("ignore:the model has 11 outputs")
def test_an_output_beside_the_classes_is_refused_beside_a_detector(folder: Path) -> None:
    done = command("--model", "own.py:eleven", "--defense", "mahalanobis", folder=folder)
    assert "own.py:eleven has 11 outputs for 10 classes, and the detector" in done.err
    assert not (folder / "runs").exists()
