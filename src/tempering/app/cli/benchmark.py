"""`temper benchmark`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say, say_json
from tempering.app.cli.early_checks import check_early
from tempering.app.cli.invocation import caller, runs_folder
from tempering.core.errors import UsageError

if TYPE_CHECKING:
    from tempering.app.benchmark import Benchmark


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
    recorded: Annotated[
        bool,
        typer.Option("--recorded", help="Show the table that was recorded; compute nothing."),
    ] = False,
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
    if recorded:
        given = {
            "--data": data,
            "--threat": threat,
            "--samples": samples,
            "--seed": seed,
            "--resume": resume,
        }
        for flag, value in given.items():
            if value is not None:
                raise UsageError(
                    f"{flag} with --recorded, which computes nothing: "
                    "give --systems, --budget and --name only"
                )
        done = _recorded(systems, budget, name)
    else:
        done = _computed(
            systems, data, threat, budget, samples, seed, name, resume, device, batch_size
        )
    if as_json:
        say_json([row.short() for row in done.table.rows])
        return
    from tempering.app.cli.system_table import show

    show(done.table)
    say("claimed: by the authors, each by a measure of their own, which the page names")
    say(f"page: {done.page}")


def _recorded(systems: str | None, budget: Size | None, name: str | None) -> Benchmark:
    from tempering.app.recorded_benchmark import recorded_benchmark

    return recorded_benchmark(
        systems=systems or "all",
        budget=None if budget is None else budget.value,
        name=name,
        runs=runs_folder(),
    )


def _computed(
    systems: str | None,
    data: str | None,
    threat: str | None,
    budget: Size | None,
    samples: int | None,
    seed: int | None,
    name: str | None,
    resume: Path | None,
    device: str,
    batch_size: int,
) -> Benchmark:
    from tempering.app.benchmark import benchmark as run

    with progress():
        return run(
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
