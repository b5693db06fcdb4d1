"""`temper benchmark`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say, say_json
from tempering.app.cli.early_checks import check_early
from tempering.app.cli.invocation import caller, runs_folder
from tempering.core.errors import UsageError


class Size(StrEnum):
    """Budgets."""

    ten = "10m"
    sixty = "60m"
    full = "full"


def benchmark(
    systems: Annotated[
        str | None, typer.Option("--systems", help="Names with commas between them; default all.")
    ] = None,
    data: options.Data = None,
    threat: options.ThreatText = None,
    budget: Annotated[
        Size | None,
        typer.Option(
            "--budget", help="How much is trained and evaluated: 10m (default), 60m or full."
        ),
    ] = None,
    samples: options.Samples = None,
    seed: options.Seed = None,
    name: options.Name = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue an interrupted benchmark.")
    ] = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = options.BATCH_SIZE,
    as_json: options.Json = False,
) -> None:
    """Train the systems of the literature, and attack them without and with knowledge of them."""
    check_early(data=data, threat=threat)
    if resume is not None and any(
        value is not None for value in (systems, data, threat, budget, samples, seed, name)
    ):
        raise UsageError(
            "--resume continues with the settings of the benchmark: give only --device, "
            "--batch-size and --json with it"
        )
    from tempering.app.benchmark import benchmark as run

    with progress():
        done = run(
            systems=systems or "all",
            data=data or "mnist",
            threat=threat or "linf:0.3",
            budget="10m" if budget is None else budget.value,
            samples=samples,
            seed=seed or 0,
            name=name,
            resume=resume,
            runs=runs_folder(),
            device=device,
            batch_size=batch_size,
            caller=caller("benchmark"),
        )
    if as_json:
        say_json([row.short() for row in done.table.rows])
        return
    from tempering.app.cli.system_table import show

    show(done.table)
    say(f"page: {done.page}")
