"""`temper evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A run folder, a .safetensors with its manifest, or file.py:factory."),
    ],
    weights: options.Weights = None,
    data: options.Data = None,
    split: options.Split = None,
    threat: options.ThreatText = None,
    attacks: Annotated[
        list[str] | None,
        typer.Option("--attack", help="NAME or NAME:key=value,...; repeatable."),
    ] = None,
    samples: options.Samples = None,
    seed: options.Seed = None,
    name: options.Name = None,
    as_json: options.Json = False,
) -> None:
    """Judge any model under attack, and write a report."""
    from tempering.app.evaluate import evaluate_address

    with progress():
        done = evaluate_address(
            model,
            weights=weights,
            data=data,
            split=split,
            threat=threat,
            attacks=attacks,
            samples=samples,
            seed=seed,
            name=name,
        )
    if as_json:
        say(done.record.model_dump_json(indent=2))
        return
    from tempering.app.cli.result import show

    show(done.record, done.run)
