"""Options that do not apply to what was asked are refused in one line, not ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.cli.test_bad_input import left, refused
from tests.app.running import temper

MODEL = ("own.py:build", "--threat", "l2:0.1")
EVALUATE = ("evaluate", *MODEL)
RESUME = ("evaluate", "--resume", "runs/x")
HARDEN = ("harden", "--resume", "runs/x")
ATTACK = ("--attack", "fgsm")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("certify", *MODEL, "--votes", "9"), "--votes 9 without --smoothing"),
        (
            ("certify", *MODEL, "--smoothing", "0.5", "--method", "crown"),
            "method crown with smoothing, which uses no bounds",
        ),
        (("certify", *MODEL, "--model", "other.py:build"), "which is a factory: leave it out"),
        (
            ("attack", *MODEL, *ATTACK, "--out", "x.npz", "--model", "other.py:build"),
            "which is a factory: leave it out",
        ),
        ((*EVALUATE, "--model", "other.py:build"), "which is a factory: leave it out"),
        ((*EVALUATE, *ATTACK, "--protocol", "fast"), "protocol 'fast' beside attacks"),
        ((*EVALUATE, *ATTACK, "--quick"), "attacks of your own beside quick"),
        ((*EVALUATE, "--protocol", "thorough", "--quick"), "protocol 'thorough' beside quick"),
        ((*EVALUATE, "--surrogate", "x", "--access", "black"), "whose attacker has none"),
        ((*EVALUATE, "--surrogate", "x", "--no-surrogate"), "beside no surrogate"),
        ((*EVALUATE, "--access", "gray", "--no-surrogate"), "which needs one"),
        ((*EVALUATE, "--access", "black", "--no-surrogate"), "which trains none"),
        ((*RESUME, "--seed", "3"), "continues with the settings of the run"),
        ((*RESUME, "--split", "paper"), "continues with the settings of the run"),
        ((*RESUME, "--model", "other.py:build"), "continues with the settings of the run"),
        ((*RESUME, "--quick"), "continues with the settings of the run"),
        ((*RESUME, "--no-surrogate"), "continues with the settings of the run"),
        ((*RESUME, "--protocol", "fast"), "continues with the settings of the run"),
        ((*HARDEN, "--quick"), "continues with the settings of the run"),
        ((*HARDEN, "--no-surrogate"), "continues with the settings of the run"),
        ((*HARDEN, "--recipe", "default"), "continues with the settings of the run"),
        (("harden", "--seed", "3", "--set", "seed=4"), "override seed=4 where seed is given"),
        (
            ("harden", "--no-surrogate", "--set", "evaluation.surrogate=true"),
            "evaluation.surrogate=true beside no surrogate",
        ),
        (("reproduce", "--resume", "runs/x", "--budget", "90m"), "continues with its own settings"),
    ],
)
def test_a_pair_that_makes_no_sense_is_refused(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    for name in ("own.py", "other.py"):
        (tmp_path / name).write_text("raise SystemExit('this file was run')", encoding="utf-8")
    refused(temper(*words, folder=tmp_path), 2, told)
    assert left(tmp_path) == set()
