"""`temper harden`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say
from tempering.app.cli.invocation import caller, runs_folder
from tempering.core.errors import UsageError


def harden(
    model: Annotated[
        str | None, typer.Option("--model", help="Name of a network, or file.py:factory.")
    ] = None,
    weights: options.Weights = None,
    data: options.Data = None,
    split: options.Split = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="An .npz with keep and id: the training samples to use."),
    ] = None,
    threat: options.ThreatText = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help="What training minimizes: trades:beta=6, file.py:name or file.py:name:key=value.",
        ),
    ] = None,
    recipe: options.RecipeName = "default",
    settings: options.Settings = None,
    seed: options.Seed = None,
    samples: options.Samples = None,
    subset: Annotated[
        str | None,
        typer.Option("--subset", help="Which test images: stratified by class and id, or first."),
    ] = None,
    name: options.Name = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue an interrupted run.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Harden a classifier, evaluate it, and write a report."""
    given = {
        "model.name": model,
        "data.address": data,
        "data.split": split,
        "data.keep": None if keep is None else str(keep.resolve()),
        "threat": threat,
        "training.hardened.objective": objective,
        "seed": seed,
        "evaluation.samples": samples,
        "evaluation.subset": subset,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    overrides += settings or []
    if resume is not None and (overrides or name or weights or recipe != "default"):
        raise UsageError(
            "--resume continues with the settings of the run: give only --json with it"
        )
    from tempering.app import harden as job

    with progress():
        if resume is not None:
            done = job.resume(resume, caller=caller("harden"))
        else:
            done = job.harden(
                recipe=recipe,
                overrides=overrides,
                weights=weights,
                name=name,
                runs=runs_folder(),
                caller=caller("harden"),
            )
    if as_json:
        say(done.record.model_dump_json(indent=2))
        return
    from tempering.app.cli.result import show

    show(done.record, done.run)
