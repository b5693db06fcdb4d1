"""Runs are resumed from any folder, without the options that they were begun with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tempering as tp
from tempering.evaluation import evaluator
from tempering.evaluation.evaluator import Evaluator
from tests.app.running import TINY, Done, temper

FACTORY = """
import torch
def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""
SHORT = ("evaluation.curve=none", "evaluation.minimum_norm=none", "evaluation.surrogate=false")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "file.py").write_text(FACTORY, encoding="utf-8")
    data = tp.data.load("digits").train.first(600)
    np.savez(folder / "mine.npz", x=data.x[:, 0].numpy(), y=data.y.numpy())
    return folder


def stopped(*_arguments: object, **_named: object) -> None:
    raise KeyboardInterrupt


def same(done: Done, whole: Done) -> None:
    assert done.code == whole.code == 0, done.err + whole.err
    for name in ("clean_correct", "robust_correct", "attacks", "data"):
        assert done.json()[name] == whole.json()[name]


@pytest.mark.filterwarnings("ignore:.* without --weights")
def test_an_evaluation_goes_on_with_resume_alone(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", "file.py:build", "--data", "npz:mine.npz", "--threat", "linf:0.1")
    words = (*words, "--samples", "20", "--attack", "fgsm", "--seed", "3", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "run_attacks", stopped)
        cut = temper(*words, "--name", "cut", folder=project)
    run = project / "runs" / "cut"
    assert cut.code == 130
    assert cut.err.splitlines()[-1].endswith(f"go on with temper evaluate --resume {run}")
    refused = temper("evaluate", "--resume", run, "--samples", "9", folder=tmp_path)
    assert refused.code == 2
    assert "continues with the settings of the run" in refused.err
    resumed = temper("evaluate", "--resume", run, "--json", folder=tmp_path)
    same(resumed, temper(*words, "--name", "whole", folder=project))


def test_without_model_and_run_there_is_nothing_to_evaluate(tmp_path: Path) -> None:
    done = temper("evaluate", folder=tmp_path)
    assert done.code == 2
    assert (
        done.err
        == "error: no model: give a run folder, a .safetensors file, zoo:NAME, file.py:factory, "
        "timm:NAME or hf:NAME\n"
    )


def test_a_hardening_goes_on_from_another_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [word for text in SHORT for word in ("--set", text)]
    words = ("harden", "--recipe", TINY, "--model", "file.py:build", "--data", "npz:mine.npz")
    words = (*words, "--threat", "linf:0.1", *settings, "--json")
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "evaluate", stopped)
        cut = temper(*words, "--name", "cut", folder=project)
    assert cut.code == 130
    resumed = temper("harden", "--resume", "project/runs/cut", "--json", folder=tmp_path)
    same(resumed, temper(*words, "--name", "whole", folder=project))
