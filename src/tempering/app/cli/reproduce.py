"""`temper reproduce`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say, say_result
from tempering.app.cli.invocation import caller, runs_folder


class Size(StrEnum):
    """Budgets."""

    ten = "10m"
    ninety = "90m"
    full = "full"


def reproduce(
    budget: Annotated[
        Size | None,
        typer.Option("--budget", help="Approximate time on two cores; default 90m."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for tables and figures; by default in the run folder."),
    ] = None,
    settings: options.Settings = None,
    name: options.Name = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue an interrupted run.")
    ] = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = options.BATCH_SIZE,
    as_json: options.Json = False,
) -> None:
    """Reproduce the paper's Tables II to V and Figures 2 to 6."""
    from tempering.app import reproduce as job

    with progress():
        done = job.reproduce(
            budget=None if budget is None else budget.value,
            overrides=settings or [],
            name=name,
            resume=resume,
            folder=folder,
            runs=runs_folder(),
            device=device,
            batch_size=batch_size,
            caller=caller("reproduce"),
        )
    if as_json:
        say_result(done.record, done.run)
        return
    say(done.page.read_text(encoding="utf-8"))
    say(f"written: {done.page}")
