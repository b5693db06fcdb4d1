"""`temper harden`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say_result, say_row
from tempering.app.cli.early_checks import check_early
from tempering.app.cli.invocation import caller, runs_folder
from tempering.core.errors import UsageError
from tempering.models.hub.address import hub_of
from tempering.models.zoo.entries import card, entry_of


def harden(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Name of a network, zoo:NAME, file.py:factory, timm:NAME or hf:NAME.",
        ),
    ] = None,
    weights: options.Weights = None,
    data: options.Data = None,
    split: options.Split = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="An .npz with keep and id: the training samples to use."),
    ] = None,
    scan: Annotated[
        str | None,
        typer.Option(
            "--scan",
            help="Scan the training data for poison first, and drop suspects if there are "
            "significantly more than chance gives: fast, thorough or off (off).",
        ),
    ] = None,
    threat: options.ThreatText = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help=(
                "What training minimizes: trades:beta=6, trim+trades (wrapped against poison), "
                "file.py:name or file.py:name:key=value."
            ),
        ),
    ] = None,
    defense: Annotated[
        list[str] | None,
        typer.Option(
            "--defense",
            help="Transforms before the network and a detector beside it, such as "
            "jpeg:quality=50,mahalanobis; repeatable; `temper list defenses` shows all.",
        ),
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option(
            "--fpr", help="Share of clean validation images that the detector flags (0.05)."
        ),
    ] = None,
    recipe: options.RecipeName = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    samples: options.Samples = None,
    subset: Annotated[
        str | None,
        typer.Option("--subset", help="Which test images: stratified by class and id, or first."),
    ] = None,
    quick: options.Quick = False,
    no_surrogate: options.NoSurrogate = False,
    name: options.Name = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue an interrupted run.")
    ] = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = options.BATCH_SIZE,
    as_json: options.Json = False,
) -> None:
    """Harden a classifier, evaluate it, and write a report."""
    if recipe is None and model is not None and (entry := entry_of(model)) is not None:
        entry_card = card(entry)
        data, threat = data or entry_card.data, threat or entry_card.threat
    given = {
        "model.name": model,
        "data.address": data,
        "data.split": split,
        "data.keep": None if keep is None else str(keep.resolve()),
        "data.scan": scan,
        "threat": threat,
        "training.hardened.objective": objective,
        "seed": seed,
        "evaluation.samples": samples,
        "evaluation.subset": subset,
    }
    given = {key: value for key, value in given.items() if value is not None}
    overrides = [f"{key}={json.dumps(value)}" for key, value in given.items()]
    overrides += settings or []
    others = (
        overrides
        or defense
        or fpr is not None
        or name
        or weights
        or recipe
        or quick
        or no_surrogate
    )
    if resume is not None and others:
        raise UsageError(
            "--resume continues with the settings of the run: give only --device, --batch-size "
            "and --json with it"
        )
    own = model is not None and (
        ".py" in model or hub_of(model) is not None or entry_of(model) is not None
    )
    check_early(model if own else None, weights=weights, data=data, threat=threat)
    from tempering.app import harden as job
    from tempering.app.beginning import require_single

    require_single(settings or [], list(given))

    with progress():
        if resume is not None:
            done = job.resume(resume, device=device, batch_size=batch_size, caller=caller("harden"))
        else:
            done = job.harden(
                recipe=recipe or "default",
                overrides=overrides,
                defense=defense or None,
                fpr=fpr,
                weights=weights,
                quick=quick,
                train_surrogate=not no_surrogate,
                device=device,
                batch_size=batch_size,
                name=name,
                runs=runs_folder(),
                caller=caller("harden"),
            )
    if as_json:
        say_result(done.record, done.run)
        return
    from tempering.app.cli.result import show
    from tempering.app.hardening_scan import told_scan

    if (told := told_scan(done.run)) is not None:
        say_row("scan", told, 17)
    show(done.record, done.run)
