"""Output: progress and errors on stderr, results on stdout."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tempering.core.progress import Advance, reporting

if TYPE_CHECKING:
    from pydantic import BaseModel

COLUMNS = 100
"""Width of what is printed, where it can be broken."""

_PLAIN_EVERY = 10.0
"""Seconds between lines of progress if stderr is not a terminal."""

_RESUMED_WITHIN = 1.0
"""Units that are reported within these seconds were done before the job was resumed."""


def leads() -> bool:
    """Whether this is the main process; under torchrun only rank 0 writes output."""
    return os.environ.get("RANK", "0") == "0"


def complain(message: str) -> None:
    """Print an error on stderr, in one line."""
    if leads():
        print(f"error: {message}", file=sys.stderr)  # noqa: T201


def say(text: str) -> None:
    """Print a result."""
    if leads():
        print(text)  # noqa: T201


def say_row(name: str, text: str, indent: int) -> None:
    """Print a named result; what is longer than a line of the terminal goes on below the text."""
    lines = textwrap.wrap(text, COLUMNS - indent, break_long_words=False, break_on_hyphens=False)
    say(f"{name:<{indent}}" + f"\n{' ' * indent}".join(lines))


def say_result(result: BaseModel, run: Path) -> None:
    """Print the result of a run as JSON, with the run's folder."""
    say_json({"run": str(near(run)), **json.loads(result.model_dump_json())})


def near(path: Path) -> Path:
    """A path from the current folder, if it lies in it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def say_json(value: Any) -> None:
    """Print a result as JSON."""
    say(json.dumps(value, indent=2))


@contextmanager
def progress() -> Iterator[None]:
    """Context that shows progress and time left: bars on a terminal, otherwise lines.

    What a user's code prints within it goes to stderr, so that stdout holds results alone.
    """
    with redirect_stdout(sys.stderr):
        if not leads():
            yield
            return
        console = Console(stderr=True)
        with _bars(console) if console.is_terminal else reporting(_lines):
            yield


@contextmanager
def _bars(console: Console) -> Iterator[None]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )

    @contextmanager
    def bar(what: str, total: int) -> Iterator[Advance]:
        task = bars.add_task(what, total=total, note="")
        yield lambda done, note: bars.update(task, completed=done, note=note)
        bars.remove_task(task)
        console.print(f"[dim]done[/dim] {what}", highlight=False)

    with bars, reporting(bar):
        yield


@contextmanager
def _lines(what: str, total: int) -> Iterator[Advance]:
    """Print a line every ten seconds and one at the end."""
    import time

    started = said = time.monotonic()
    first: int | None = None

    def advance(done: int, note: str) -> None:
        nonlocal said, first
        now = time.monotonic()
        if first is None:
            first = done if now - started < _RESUMED_WITHIN else 0
        if now - said < _PLAIN_EVERY or done <= first:
            return
        said = now
        left = (now - started) / (done - first) * (total - done)
        tail = f", {note}" if note else ""
        print(  # noqa: T201
            f"{what}: {done} of {total}, about {left:.0f} s left{tail}", file=sys.stderr, flush=True
        )

    yield advance
    spent = time.monotonic() - started
    print(f"{what}: done in {spent:.1f} s", file=sys.stderr, flush=True)  # noqa: T201
