"""What `temper evaluate` cannot go through with is named in one line, and nothing is lost."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.core.records import Assessment
from tests.app.running import Done, temper
from tests.app.test_evaluate import MINE, trained

MODELS = """

class Sized(Mine):
    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def forward(self, x):
        if self.wrong(len(x)):
            raise RuntimeError(f"no room for {len(x)}")
        return super().forward(x)

def alone(): return Sized(lambda n: n == 1)

def uneven(): return Sized(lambda n: n == 44)

class Squeezed(Mine):
    def forward(self, x): return super().forward(x).squeeze()

def squeezed(): return Squeezed()

def few():
    net = Mine()
    net.head = nn.Linear(32, 7)
    return net

def wants(hidden, depth=2, *, width): return Mine(hidden)

class Late(Mine):
    looks = 0

    def forward(self, x):
        Late.looks += torch.is_grad_enabled() and len(x) == 97  # examinations look at fewer
        if Late.looks > LOOKS:
            raise RuntimeError("lost its memory")
        return super().forward(x)

LOOKS = 4

def late(): return Late()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "file.py").write_text(MINE + MODELS, encoding="utf-8")
    trained(folder)
    return folder


def evaluated(factory: str, *words: str | Path, folder: Path, weights: str = "x.pth") -> Done:
    given = ("--weights", weights) if weights else ()
    address = f"file.py:{factory}"
    more = ("--data", "digits", "--threat", "linf:0.1", "--json")
    return temper("evaluate", address, *given, *more, *words, folder=folder)


def refused(done: Done, code: int, message: str) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    last = done.err.splitlines()[-1]
    assert re.search(message, last), done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("factory", "weights", "message"),
    [
        (
            "few",
            "",
            "error: the model has 7 outputs but the labels of digits/test go up to 9: give",
        ),
        (
            "alone",
            "x.pth",
            r"fails on a batch of 1 images .*no room for 1 \(file.py:25\): .*batches of any size",
        ),
        ("squeezed", "x.pth", r"returned shape \(10,\) for 1 images: return logits of shape \(1, "),
        (
            "wants",
            "",
            r"file\.py:wants needs arguments \(hidden, width\): give a function that can",
        ),
    ],
)
def test_what_shows_at_once_starts_nothing(
    folder: Path, factory: str, weights: str, message: str
) -> None:
    done = evaluated(factory, "--name", "no", folder=folder, weights=weights)
    refused(done, 1, message)
    assert not (folder / "runs" / "no").exists()


def test_a_last_smaller_batch_that_fails_is_named_with_its_size(folder: Path) -> None:
    """A batch is 256 images: of 300 the last one has 44."""
    done = evaluated("uneven", "--samples", "300", "--attack", "fgsm", folder=folder)
    refused(done, 1, r"fails on a batch of 44 images of shape \(1, 8, 8\): RuntimeError: no room")


def test_what_was_measured_before_a_failure_is_kept(folder: Path) -> None:
    words = ("--samples", "97", "--attack", "fgsm", "--attack", "pgd:steps=9,until_fooled=false")
    run = folder / "runs" / "late"
    done = evaluated("late", *words, "--name", "late", folder=folder)
    told = (
        f"batch of 97 images .*lost its memory.*is kept: go on with temper evaluate --resume {run}"
    )
    refused(done, 1, told)
    kept = {one: one.stat().st_mtime_ns for one in run.glob("checkpoint/measured-*")}
    assert {"measured-clean.safetensors", "measured-all-white-00-0000.safetensors"} <= {
        one.name for one in kept
    }
    test = tp.data.load("digits").train.first(900)
    np.savez(folder / "other.npz", x=test.x[:, 0].numpy(), y=test.y.numpy())
    other = evaluated("late", *words, "--resume", run, "--data", "npz:other.npz", folder=folder)
    refused(other, 1, "was begun with data_hash .*: give the same model, data and options")
    assert {one: one.stat().st_mtime_ns for one in kept} == kept
    source = (folder / "file.py").read_text(encoding="utf-8")
    (folder / "file.py").write_text(source.replace("LOOKS = 4", "LOOKS = 10**9"), encoding="utf-8")
    again = evaluated("late", *words, "--resume", run, folder=folder)
    assert again.code == 0, again.err
    whole = evaluated("late", *words, folder=folder)
    same = ("clean_correct", "robust_correct", "attacks")
    assert [again.json()[name] for name in same] == [whole.json()[name] for name in same]


def test_too_little_time_for_the_clean_pass_starts_nothing(folder: Path) -> None:
    for words in ((), ("--access", "black")):
        done = evaluated("build", "--time", "0.00001s", "--name", "no", *words, folder=folder)
        refused(
            done,
            2,
            r"seconds are left for \d+ samples, which take about (?!0 s|0\.0 s).* give more time",
        )
        assert not (folder / "runs" / "no").exists()


class Own(nn.Module):
    """Probabilities without a softmax that torch knows of."""

    def forward(self, logits: Tensor) -> Tensor:
        shares = (logits - logits.amax(1, keepdim=True)).exp()
        return shares / shares.sum(1, keepdim=True)


class Scaled(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return 50 * logits


@pytest.fixture(scope="module")
def net(folder: Path) -> nn.Module:
    return tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")


@pytest.fixture(scope="module")
def of_logits(net: nn.Module) -> Assessment:
    return tp.evaluate(net, tp.data.load("digits"), tp.Linf(0.06), samples=40)


@pytest.mark.parametrize(
    "end",
    [(nn.Softmax(1),), (Own(),), (Scaled(), nn.Softmax(-1))],
    ids=["softmax", "own", "saturated"],
)
def test_probabilities_are_flagged_and_attacked_as_logits_are(
    net: nn.Module, of_logits: Assessment, end: tuple[nn.Module, ...]
) -> None:
    model = nn.Sequential(net, *end)
    weights = tp.models.weights_hash(model)
    found = tp.evaluate(model, tp.data.load("digits"), tp.Linf(0.06), samples=40)
    flags = {flag.name: flag for flag in found.flags}
    assert "outputs are probabilities" not in {flag.name for flag in of_logits.flags}
    assert "lie in [0, 1] and sum to 1" in flags["outputs are probabilities"].evidence
    assert found.clean_correct == of_logits.clean_correct
    assert of_logits.certified_correct > 0
    assert 0 < of_logits.robust_correct < of_logits.clean_correct
    assert abs(found.robust_correct - of_logits.robust_correct) <= 1
    assert tp.models.weights_hash(model) == weights
    # proofs follow layers in a row
    assert found.certified_correct == (
        0 if isinstance(end[-1], Own) else of_logits.certified_correct
    )


def test_probabilities_are_flagged_where_examinations_are_left_out(net: nn.Module) -> None:
    model, data = nn.Sequential(net, nn.Softmax(1)), tp.data.load("digits")
    found = tp.evaluate(model, data, tp.Linf(0.06), samples=20, seconds=60)
    assert "outputs are probabilities" in {flag.name for flag in found.flags}


def test_a_model_in_training_mode_is_judged_in_evaluation_mode_and_left_in_its_own() -> None:
    torch.manual_seed(0)
    body = [nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5)]
    model = nn.Sequential(*body, nn.Linear(32, 10)).train()
    model[2].eval()  # a layer that was frozen on purpose
    data = tp.data.load("digits")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    found = tp.evaluate(model, data, tp.Linf(0.02), samples=40)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    again = tp.evaluate(model.eval(), data, tp.Linf(0.02), samples=40)
    same = ("clean_correct", "certified_correct", "robust_correct", "passes", "flags")
    assert [getattr(found, name) for name in same] == [getattr(again, name) for name in same]


def test_a_gray_box_attackers_model_is_checked_before_anything_is_run(folder: Path) -> None:
    words = ("--access", "gray", "--surrogate", "file.py:few", "--name", "no")
    refused(evaluated("build", *words, folder=folder), 1, "surrogate: the model has 7 outputs")
    assert not (folder / "runs" / "no").exists()
