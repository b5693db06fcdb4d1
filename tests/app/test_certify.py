"""`temper certify`: proofs on a user's model, and who they are about."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import torch

import tempering as tp
from tempering.certification.smoothing import Smoothing
from tempering.core.errors import UsageError
from tests.app.running import temper
from tests.app.test_evaluate import MINE, trained

WORDS = ("certify", "file.py:build", "--weights", "x.pth", "--data", "digits", "--samples", "40")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "file.py").write_text(MINE, encoding="utf-8")
    trained(folder)
    return folder


def test_counts_add_up_and_no_attack_beats_them(folder: Path) -> None:
    done = temper(*WORDS, "--threat", "linf:0.03", "--json", folder=folder)
    assert done.code == 0, done.err
    found = done.json()
    assert found["n"] == 40
    assert found["certified_correct"] + found["refuted"] + found["undecided"] == 40
    assert 0 < found["certified_correct"] <= found["clean_correct"]
    assert next(iter(found["by_method"])) == "interval"
    assert found["of"] == "model"
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")
    record = tp.evaluate(model, tp.data.load("digits"), tp.Linf(0.03), samples=40)
    assert found["certified_correct"] <= record.robust_correct


def test_smoothing_is_about_the_vote(folder: Path) -> None:
    words = (*WORDS, "--threat", "l2:0.1", "--smoothing", "0.1", "--votes", "200", "--json")
    done = temper(*words, folder=folder)
    assert done.code == 0, done.err
    found = done.json()
    assert found["of"] == "smoothed"
    assert found["settings"]["sigma"] == 0.1
    assert 0 < found["certified_correct"] <= found["clean_correct"] <= 40
    told = temper(*words[:-1], folder=folder)
    assert "sigma 0.1, 200 noisy copies of each sample" in told.out
    refused = temper(*WORDS, "--threat", "linf:0.1", "--smoothing", "0.1", folder=folder)
    assert refused.code == 2
    assert "give an L2 threat" in refused.err


def test_what_has_no_bounds_is_named(folder: Path) -> None:
    text = MINE.replace("return self.head(", "return torch.sin(self.head(").replace(
        "/ 0.5))", "/ 0.5)))"
    )
    (folder / "wavy.py").write_text(text, encoding="utf-8")
    words = [word.replace("file.py", "wavy.py") for word in WORDS]
    done = temper(*words, "--threat", "linf:0.03", folder=folder)
    assert done.code == 0, done.err
    assert "abstained: no bounds for" in done.out
    assert "sin" in done.out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--threat", "linf:0.1", "--method", "crwn"), "did you mean crown"),
        ((), "give one, such as --threat linf:0.3"),
        (("--threat", "linf:0.1", "--time", "0"), "such as 90s, 10m or 1h"),
    ],
)
def test_wrong_calls_are_refused(folder: Path, more: tuple[str, ...], told: str) -> None:
    done = temper(*WORDS, *more, folder=folder)
    assert done.code == 2
    assert told in done.err


@pytest.mark.parametrize("threat", ["l0:1", "patch:0.02"])
def test_pixel_counts_and_patches_are_certified(folder: Path, threat: str) -> None:
    text = (
        "import torch\nfrom torch import nn\n"
        "class Behind(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.rest = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "    def forward(self, x):\n"
        "        return self.rest((x > 0.5).float())\n"
    )
    (folder / "hard.py").write_text(text, encoding="utf-8")
    weights = {"rest.1.weight": torch.zeros(10, 64), "rest.1.bias": 5 * torch.eye(10)[3] - 1}
    torch.save(weights, folder / "hard.pth")
    words = ("certify", "hard.py:Behind", "--weights", "hard.pth", *WORDS[4:], "--json")
    done = temper(*words, "--threat", threat, "--method", "interval", folder=folder)
    assert done.code == 0, done.err
    found = done.json()
    assert found["unsupported"] is None
    assert found["certified_correct"] == found["clean_correct"] > 0


def test_the_model_is_left_as_it_was(folder: Path) -> None:
    before = torch.load(folder / "x.pth", weights_only=True)
    temper(*WORDS, "--threat", "linf:0.01", "--method", "interval", folder=folder)
    after = torch.load(folder / "x.pth", weights_only=True)
    assert all(torch.equal(before[name], after[name]) for name in before)


SMOOTHED = (*WORDS, "--smoothing", "0.25")


@pytest.mark.parametrize(
    ("eps", "votes", "told"),
    [
        ("1", "200", r"beyond 0\.4\d*, the largest radius that 200 draws.*at least 218,\d+ draws"),
        ("9", "200", r"give a sigma above \d"),
    ],
)
def test_a_radius_that_no_draws_can_certify_is_refused_at_once(
    eps: str, votes: str, told: str, tmp_path: Path
) -> None:
    words = (*SMOOTHED, "--threat", f"l2:{eps}", "--votes", votes)
    (tmp_path / "file.py").write_text("raise SystemExit('this file was run')", encoding="utf-8")
    done = temper(*words, folder=tmp_path)
    assert done.code == 2
    assert re.search(told, done.err), done.err
    assert len(done.err.splitlines()) == 1


def test_the_draws_that_are_named_suffice_and_no_fewer_do() -> None:
    few = Smoothing(sigma=0.25, samples=200)
    with pytest.raises(UsageError, match="beyond"):
        few.require(0.6)
    draws = int(few.draws_beyond(0.6))
    Smoothing(sigma=0.25, samples=draws).require(0.6)
    with pytest.raises(UsageError, match="beyond"):
        Smoothing(sigma=0.25, samples=draws - 1).require(0.6)


def test_smoothing_keeps_to_its_time(folder: Path) -> None:
    words = (*SMOOTHED, "--threat", "l2:0.1", "--votes", "100000", "--time", "1s", "--json")
    started = time.monotonic()
    done = temper(*words, folder=folder)
    assert time.monotonic() - started < 20
    assert done.code == 0, done.err
    found = done.json()
    assert found["unreached"] > 0
    assert found["undecided"] >= found["unreached"]
    assert found["by_method"]["smoothing"]["samples"] == 40 - found["unreached"]
    assert found["certified_correct"] + found["refuted"] + found["undecided"] == 40


@pytest.mark.filterwarnings("default::tempering.core.notes.TemperingWarning")
def test_what_was_not_run_is_said(folder: Path) -> None:
    words = (*WORDS[:-1], "10")
    told = temper(*words, "--threat", "patch:0.5", folder=folder)
    assert told.code == 0, told.err
    assert re.search(r"(?m)^not run +branching: not for patch:0\.5$", told.out), told.out
    refused = temper(*words, "--threat", "patch:0.5", "--method", "branching", folder=folder)
    assert refused.code == 2
    assert "method branching does not certify patch:0.5" in refused.err
    told = temper(*words, "--threat", "patch:0.01", "--json", folder=folder)
    assert "threat patch:0.01 allows no change: its square is smaller than a pixel" in told.err
    found = told.json()
    assert found["misclassified"] == found["refuted"] == 10 - found["clean_correct"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--smoothing", "0"), "--smoothing 0: give a sigma above 0, such as 0.25"),
        (("--smoothing", "nan"), "--smoothing nan: give a sigma above 0"),
        (("--smoothing", "0.25", "--votes", "0"), "--votes 0: "),
        (("--method", "smoothing"), "method smoothing: give --smoothing SIGMA"),
        (("--time", "0s"), "time '0s': give seconds, minutes or hours above 0"),
    ],
)
def test_wrong_options_are_named(words: tuple[str, ...], message: str, folder: Path) -> None:
    done = temper(*WORDS, "--threat", "l2:0.5", *words, folder=folder)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert done.err.startswith(f"error: {message}")
