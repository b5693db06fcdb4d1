"""Commands are recorded so that they can be typed again."""

import sys
from pathlib import Path

import pytest

from tempering.app.cli.invocation import caller, runs_folder, typed_command


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["/usr/bin/temper", "harden", "--data", "npz:my faces.npz"],
         "temper harden --data 'npz:my faces.npz'"),
        (["/lib/tempering/__main__.py", "evaluate", "x"], "python -m tempering evaluate x"),
        (["script.py"], "script.py"),
    ],
)  # fmt: skip
def test_the_command_is_recorded_as_it_was_typed(
    argv: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert typed_command() == caller("harden").command == told


@pytest.mark.parametrize("command", ["harden", "evaluate", "reproduce"])
def test_a_run_is_continued_by_the_command_that_began_it(command: str) -> None:
    told = caller(command).resume(Path("/runs/my run"))
    assert told == f"temper {command} --resume '/runs/my run'"


def test_runs_are_kept_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs_folder() == tmp_path / "runs"
