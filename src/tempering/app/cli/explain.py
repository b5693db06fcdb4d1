"""`temper explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import near, progress, say, say_json
from tempering.app.cli.early_checks import check_early
from tempering.app.cli.invocation import typed_command


def explain(
    model: options.Model,
    weights: options.Weights = None,
    factory: options.Factory = None,
    data: options.Data = None,
    split: options.Split = None,
    threat: options.ThreatText = None,
    attack: Annotated[
        list[str] | None,
        typer.Option("--attack", help="NAME or NAME:key=value,...; repeatable; default: two."),
    ] = None,
    samples: options.Samples = None,
    seed: options.Seed = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for explain.html and explain.json; default: the run, or explanation/.",
        ),
    ] = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = options.BATCH_SIZE,
    as_json: options.Json = False,
) -> None:
    """Show where a model looks, how attacks move that, and whether the shift detects them."""
    check_early(
        model, factory=factory, weights=weights, data=data, threat=threat, attacks=attack or []
    )
    from tempering.app.compute import Compute
    from tempering.app.explain import explain_address
    from tempering.app.load_inputs import InputAddress

    with progress():
        done = explain_address(
            InputAddress(model, weights, data, split, threat, seed, factory),
            attacks=attack or [],
            samples=samples,
            out=out,
            compute=Compute(device, batch_size),
            command=typed_command(),
        )
    if as_json:
        say_json(done.record.model_dump(mode="json"))
        return
    from tempering.app.cli.explanation import lines

    for line in lines(done.record):
        say(line)
    if done.page is not None:
        say(f"page: {near(done.page.resolve())}")
