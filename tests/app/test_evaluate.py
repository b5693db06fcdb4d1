"""`temper evaluate` on a model that Tempering has never seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tempering as tp
from tempering.app.evaluation_setup import _on
from tempering.core.errors import UsageError
from tempering.core.records import Measurement, load_records
from tempering.evaluation.evaluator import Evaluator
from tests.app.running import temper

MINE = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.head(self.body((x - 0.5) / 0.5))

def build():
    return Mine()
"""


def trained(folder: Path) -> nn.Module:
    """A plain training, as a user would write it."""
    data = tp.data.load("digits")
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.train.x), data.train.y).backward()
        optimizer.step()
    torch.save(model.state_dict(), folder / "x.pth")
    return model


@pytest.fixture
def model(tmp_path: Path) -> nn.Module:
    (tmp_path / "file.py").write_text(MINE, encoding="utf-8")
    return trained(tmp_path)


WORDS = ("evaluate", "file.py:build", "--weights", "x.pth", "--data", "digits", "--json")


def test_a_users_own_model_is_judged_with_its_weights(model: nn.Module, tmp_path: Path) -> None:
    test = tp.data.load("digits").test.take(100)
    with torch.no_grad():
        right = int((model(test.x).argmax(1) == test.y).sum())
    assert right > 90
    attacks = ("--attack", "pgd:steps=5", "--attack", "fgsm")
    words = (*WORDS, "--threat", "linf:0.1", "--samples", "100", *attacks, "--name", "mine")
    done = temper(*words, folder=tmp_path)
    assert done.code == 0, done.err
    found = done.json()
    assert (found["n"], found["data"], found["threat"]) == (100, "digits", "linf:0.1")
    assert found["clean_accuracy"] == right / 100
    assert found["model"] == "file.py:build"
    assert set(found["attacks"]) == {"pgd-5", "fgsm"}
    assert found["robust_accuracy"]["upper"] < right / 100
    assert all(attack["before"] is None for attack in found["attacks"].values())
    assert (found["rho"], found["stop_reason"]) == (None, None)
    run = tmp_path / "runs" / "mine"
    assert {entry.name for entry in run.iterdir()} == {
        "records.jsonl", "summary.json", "report.html", "report.md", "gallery.npz", "verdicts.npz",
    }  # fmt: skip
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "file.py:build" in page
    measured = [
        record for record in load_records(run / "records.jsonl") if isinstance(record, Measurement)
    ]
    assert {record.subject for record in measured} == {"given"}
    assert {record.weights for record in measured} == {tp.models.weights_hash(model)}


def test_the_function_finds_what_the_command_finds(model: nn.Module, tmp_path: Path) -> None:
    words = (*WORDS, "--threat", "l2:0.5", "--samples", "50", "--attack", "pgd:steps=5")
    told = temper(*words, folder=tmp_path).json()
    record = tp.evaluate(
        model,
        tp.data.load("digits"),
        tp.L2(0.5),
        attacks=[tp.attacks.PGD(steps=5)],
        samples=50,
    )
    assert told["robust_accuracy"]["upper"] == record.robust_accuracy.upper
    assert told["clean_accuracy"] == record.clean_accuracy


def test_attacks_that_do_not_know_the_norm_are_left_out_only_if_nobody_asked(
    model: nn.Module,
) -> None:
    data = tp.data.load("digits").test
    record = tp.evaluate(model, data, tp.L0(5), samples=10)
    assert set(record.by_attack) == {"sigma-zero-300"}
    with pytest.raises(UsageError, match="pgd does not attack in l0"):
        tp.evaluate(model, data, tp.L0(5), samples=10, attacks=[tp.attacks.PGD()])


@pytest.mark.filterwarnings("always::tempering.core.notes.TemperingWarning")
def test_weights_are_drawn_from_the_factory_where_none_are_given(
    model: nn.Module, tmp_path: Path
) -> None:
    words = ("evaluate", "file.py:build", "--data", "digits", "--threat", "linf:0.1")
    done = temper(*words, "--samples", "100", "--attack", "fgsm", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    assert done.json()["clean_accuracy"] < 0.5
    assert "warning: file.py:build was built without --weights" in done.err


def test_a_model_that_lies_elsewhere_stays_there() -> None:
    model, cpu, other = nn.Linear(2, 2), torch.device("cpu"), torch.device("meta")
    assert _on(model, cpu) is model
    moved = _on(model, other)
    assert next(moved.parameters()).device == other
    assert next(model.parameters()).device == cpu


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (MemoryError, None)])
def test_an_evaluation_that_does_not_end_leaves_nothing(
    model: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    code: int | None,
) -> None:
    def stopped(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(Evaluator, "evaluate", stopped)
    words = (*WORDS, "--threat", "linf:0.1")
    if code is None:
        with pytest.raises(error):
            temper(*words, folder=tmp_path)
    else:
        done = temper(*words, folder=tmp_path)
        assert done.code == code
        assert done.err == "error: interrupted; nothing was kept: evaluate again\n"
    assert list((tmp_path / "runs").iterdir()) == []
