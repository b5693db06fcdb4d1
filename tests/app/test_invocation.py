"""Commands are told so that they can be typed again."""

import sys
from pathlib import Path

import pytest

from tempering.app.invocation import command_line, resuming


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["/usr/bin/temper", "harden", "--data", "npz:my faces.npz"],
         "temper harden --data 'npz:my faces.npz'"),
        (["/lib/tempering/__main__.py", "evaluate", "x"], "python -m tempering evaluate x"),
        (["script.py"], "script.py"),
    ],
)  # fmt: skip
def test_the_command_is_told_as_it_was_typed(
    argv: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert command_line() == told


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["temper", "harden"], "harden"),
        (["temper", "reproduce", "--budget", "10m"], "reproduce"),
        (["my-script.py"], "harden"),
    ],
)
def test_a_run_is_gone_on_with_by_the_command_that_began_it(
    argv: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert resuming(Path("/runs/my run")) == f"temper {command} --resume '/runs/my run'"
