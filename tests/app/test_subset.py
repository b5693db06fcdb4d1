"""Which test images are used where not all are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tempering as tp
from tempering.core.records import Provenance, load_records
from tempering.data import Dataset
from tests.app.conftest import Hardened
from tests.app.running import temper

MODEL = """
import torch
def build():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    torch.nn.init.zeros_(net[1].weight)
    net[1].bias.data.copy_(torch.tensor([2.0, 0.0, -1.0]))
    return net
"""
"""Everything is of class 0."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(MODEL)
    x = np.random.default_rng(0).random((90, 4, 4), np.float32)
    y = np.arange(90) // 15 % 3  # runs of one class, each class twice
    np.savez(tmp_path / "data.npz", x=x, y=y, x_test=x / 2, y_test=y)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.* without --weights")
@pytest.mark.parametrize("subset", [None, "first"])
@pytest.mark.parametrize("command", ["evaluate", "certify", "attack"])
def test_every_command_judges_all_classes_and_says_how_it_chose(
    command: str, subset: str | None, folder: Path
) -> None:
    words = [command, "model.py:build", "--data", "npz:data.npz", "--threat", "linf:0.01"]
    words += ["--samples", "12", "--json"] + (["--subset", subset] if subset else [])
    words += {
        "attack": ["--attack", "fgsm", "--out", "x.npz"],
        "evaluate": ["--attack", "fgsm"],
    }.get(command, [])
    done = temper(*words, folder=folder)
    assert done.code == 0, done.err
    found = done.json()
    right = 12 if subset else 4
    if command == "attack":
        assert found["n"] - found["before"] == right
    else:
        assert found["clean_correct"] == right
    if command == "evaluate":
        (made,) = (
            record
            for record in load_records(folder / "runs" / "latest" / "records.jsonl")
            if isinstance(record, Provenance)
        )
        assert made.recipe["subset"] == (subset or "stratified")
        told = "the first ones" if subset else "stratified by class and id"
        assert f"12, {told}" in (folder / "runs" / "latest" / "report.md").read_text("utf-8")
    else:
        assert found["subset"] == (subset or "stratified")


def test_a_hardened_run_records_it(hardened: Hardened) -> None:
    records = load_records(hardened.run / "records.jsonl")
    (made,) = (record for record in records if isinstance(record, Provenance))
    assert made.recipe["evaluation"]["subset"] == "stratified"


def test_the_samples_do_not_depend_on_the_order_of_the_rows() -> None:
    x = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    y, order = (
        torch.arange(60) // 20,
        torch.randperm(60, generator=torch.Generator().manual_seed(1)),
    )
    names = [f"file {row}" for row in range(60)]
    data = Dataset.of(x, y, ids=names)
    moved = Dataset.of(x[order], y[order], ids=[names[row] for row in order.tolist()])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    one, other = (
        tp.evaluate(model, given, "linf:0.01", attacks="fgsm", samples=20)
        for given in (data, moved)
    )
    assert (one.clean_correct, one.robust_correct) == (other.clean_correct, other.robust_correct)
    assert data.take(20).content_hash == moved.take(20).content_hash
