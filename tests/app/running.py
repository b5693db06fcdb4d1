"""Running `temper`: in this process, which is fast, or in one that can be killed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tempering.app.cli import main

TINY = Path(__file__).with_name("tiny.toml")
PROGRAM = Path(__file__).with_name("program.py")
PATIENCE = 120.0
"""Seconds that anything may take on a busy machine."""


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def temper(*words: str | Path, folder: Path) -> Done:
    """Run a command in this process, in a folder."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = ["temper", *map(str, words)]
    sigterm = signal.getsignal(signal.SIGTERM)
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.dict(os.environ),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        finally:
            signal.signal(signal.SIGTERM, sigterm)
    return Done(code, out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@contextlib.contextmanager
def started(*words: str | Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process of its own; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, words)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, out, err)


def wait_until(process: subprocess.Popen[str], so: Callable[[], bool]) -> None:
    """Wait for something that a process does, while it still runs."""
    deadline = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < deadline, "waited in vain"
        if process.poll() is not None:
            raise AssertionError(f"ended before that: {process.communicate()[1]}")
        time.sleep(0.002)


def run_under(launcher: list[str], *words: str | Path, folder: Path) -> Done:
    """Run a command to its end under a launcher such as torchrun."""
    done = subprocess.run(
        [*launcher, *map(str, words)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
