"""Files named for results: something else is not replaced, and nothing runs before that is said."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tempering as tp
from tempering.app.output_files import check_samples_file, check_verdicts_folder
from tempering.core.errors import UsageError
from tests.app.running import temper

MINE = """
def build():
    raise SystemExit("this file was run")
"""


def test_an_archive_of_something_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(MINE, encoding="utf-8")
    np.savez(tmp_path / "mine.npz", x=np.arange(3))
    before = (tmp_path / "mine.npz").read_bytes()
    words = ("my.py:build", "--data", "digits", "--threat", "linf:0.1", "--attack", "fgsm")
    done = temper("attack", *words, "--out", "mine.npz", folder=tmp_path)
    assert (done.code, done.err) == (
        2,
        "error: mine.npz exists and is no result of an attack: give another name\n",
    )
    assert (tmp_path / "mine.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("verdicts.npz", "verdicts.npz exists and is no result of an evaluation"),
        ("adversarial.npz", "adversarial.npz exists and is no result of an evaluation"),
        ("summary.json", "is the folder of a run: give another name"),
    ],
)
def test_a_folder_with_other_files_is_kept(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "my.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    words = ("my.py:build", "--data", "digits", "--threat", "linf:0.1")
    done = temper("evaluate", *words, "--out", "out", folder=tmp_path)
    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1
    assert (tmp_path / "out" / name).read_text() == "mine"
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    told = re.escape(f"{tmp_path / 'file'} for the verdicts: give a folder that can be written to")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(UsageError, match=told):
            check_verdicts_folder(out)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UsageError, match="is no result of an attack"):
        check_samples_file(tmp_path / "folder.npz")


def test_an_earlier_result_is_replaced(tmp_path: Path) -> None:
    x, y = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    for eps in ("linf:0.1", "linf:0.2"):
        tp.attack(net, (x, y), eps, "fgsm", out=tmp_path / "o.npz")
    with np.load(tmp_path / "o.npz") as file:
        assert float(np.abs(file["x_adv"] - file["x"]).max()) > 0.15
