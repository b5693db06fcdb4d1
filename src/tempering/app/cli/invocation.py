"""The command that was typed: for the record, and to continue it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tempering.app.caller import Caller


def typed_command() -> str:
    """The command as one would type it, without the folder of the program."""
    name = Path(sys.argv[0]).name
    program = ["python", "-m", "tempering"] if name == "__main__.py" else [name]
    return shlex.join([*program, *sys.argv[1:]])


def caller(subcommand: str) -> Caller:
    """The command line as the caller of a subcommand."""
    return Caller(
        typed_command(), lambda run: shlex.join(["temper", subcommand, "--resume", str(run)])
    )


def runs_folder() -> Path:
    """The folder of runs: `runs` in the current directory."""
    return Path.cwd() / "runs"
