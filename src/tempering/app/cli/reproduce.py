"""`temper reproduce`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say
from tempering.app.cli.invocation import caller, runs_folder


class Size(StrEnum):
    """Budgets."""

    ten = "10m"
    ninety = "90m"
    full = "full"


def reproduce(
    budget: Annotated[
        Size, typer.Option("--budget", help="Approximate time on two cores.")
    ] = Size.ninety,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for tables and figures; by default in the run folder."),
    ] = None,
    settings: options.Settings = None,
    name: options.Name = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue an interrupted run.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Reproduce the paper's Tables II to V and Figures 2 to 6."""
    from tempering.app import reproduce as job

    with progress():
        done = job.reproduce(
            budget=budget.value,
            overrides=settings or [],
            name=name,
            resume=resume,
            folder=folder,
            runs=runs_folder(),
            caller=caller("reproduce"),
        )
    if as_json:
        say(done.record.model_dump_json(indent=2))
        return
    say(done.page.read_text(encoding="utf-8"))
    say(f"written: {done.page}")
