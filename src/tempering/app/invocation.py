"""The command that runs, for the record; and the one that goes on with it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """The command as one would type it, without the folder of the program."""
    name = Path(sys.argv[0]).name
    program = ["python", "-m", "tempering"] if name == "__main__.py" else [name]
    return shlex.join([*program, *sys.argv[1:]])


def resuming(run: Path) -> str:
    """The command that goes on with a run."""
    command = "reproduce" if sys.argv[1:2] == ["reproduce"] else "harden"
    return shlex.join(["temper", command, "--resume", str(run)])
