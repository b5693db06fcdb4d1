"""`temper partition`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import near, progress, say
from tempering.app.cli.early_checks import check_early


def partition(
    data: options.Data = None,
    parts: Annotated[
        int, typer.Option("--parts", min=1, help="Disjoint parts, each with a network.")
    ] = 25,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Training steps of each network.")
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="What each network minimizes: trades:beta=6.")
    ] = "standard",
    threat: options.ThreatText = None,
    recipe: options.RecipeName = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    samples: options.Samples = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder for the vote and its certificates.")
    ] = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Train networks on disjoint parts that vote, and certify the vote against poisoned data."""
    check_early(None, data=data, threat=threat)
    from tempering.app.output_files import check_new_folder
    from tempering.app.partition import partition as job

    if out is not None:
        check_new_folder(out, "the vote")
    overrides = [*(settings or []), *([] if data is None else [f"data.address={json.dumps(data)}"])]
    with progress():
        done = job(
            None,
            parts,
            steps=steps,
            objective=objective,
            threat=threat,
            recipe=recipe or "default",
            overrides=overrides,
            seed=seed,
            samples=samples,
            device=device,
        )
        folder = None if out is None else done.save(out)
    found = done.certificates
    if as_json:
        told = {"out": None if folder is None else str(folder), **found.model_dump(mode="json")}
        say(json.dumps(told, indent=2))
        return
    say(f"{found.parts} networks vote on {done.manifest.data}, seed {done.manifest.seed}")
    say(f"accuracy           {found.within[0]}, {found.n} test images")
    for poisons in range(1, len(found.within) - 1):
        say(f"  {poisons:>3} poisons      {found.within[poisons]} certified")
    if folder is not None:
        say(f"model              {near(folder)}")
