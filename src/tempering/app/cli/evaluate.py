"""`temper evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say_result
from tempering.app.cli.durations import parse_seconds
from tempering.app.cli.early_checks import check_early
from tempering.app.cli.invocation import caller, runs_folder
from tempering.core.errors import UsageError


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A run folder, a .safetensors with its manifest, zoo:NAME, file.py:factory, "
            "timm:NAME or hf:NAME; "
            "not needed with --resume."
        ),
    ] = None,
    weights: options.Weights = None,
    factory: options.Factory = None,
    data: options.Data = None,
    split: options.Split = None,
    threat: options.ThreatText = None,
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            "--attack", help="NAME or NAME:key=value,...; runs on all samples; repeatable."
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="Attacks without --attack: fast (the default), autoattack, thorough or quick.",
        ),
    ] = None,
    access: Annotated[
        str, typer.Option("--access", help="What the attacker knows: white, gray, black or all.")
    ] = "white",
    surrogate: Annotated[
        str | None,
        typer.Option(
            "--surrogate",
            help="Model of the gray-box attacker: a run or a file; trained if not given. With "
            "--access white it is used where gradients are masked.",
        ),
    ] = None,
    no_surrogate: options.NoSurrogate = False,
    quick: options.Quick = False,
    samples: options.Samples = None,
    subset: options.Subset = "stratified",
    seed: options.Seed = None,
    limit: Annotated[
        str | None,
        typer.Option("--time", help="Time limit for attacks, such as 90s, 10m or 1h."),
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(
            "--corruptions",
            help="Also measure accuracy under common corruptions: all, or names: noise,blur.",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", help="A finished evaluation to compare with, sample by sample."),
    ] = None,
    name: options.Name = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue an interrupted evaluation.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for verdicts and adversarial images."),
    ] = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = options.BATCH_SIZE,
    as_json: options.Json = False,
) -> None:
    """Evaluate a model: certificates, then attacks on undecided samples; write a report."""
    check_early(model, factory=factory, weights=weights, data=data, threat=threat, attacks=attacks)
    from tempering.app.compute import Compute
    from tempering.app.evaluate import evaluate_address, resume_evaluation
    from tempering.app.evaluation_options import EvaluationOptions
    from tempering.app.load_inputs import InputAddress

    asked = EvaluationOptions(
        attacks=attacks,
        protocol=protocol,
        access=access,
        surrogate=surrogate,
        train_surrogate=not no_surrogate,
        quick=quick,
        samples=samples,
        subset=subset,
        seconds=None if limit is None else parse_seconds(limit),
        corruptions=corruptions,
        compare=compare,
    )
    address = InputAddress(model or "", weights, data, split, threat, seed, factory)
    own, compute = caller("evaluate"), Compute(device, batch_size)
    with progress():
        if model is not None:
            done = evaluate_address(
                address,
                asked,
                name=name,
                resume=resume,
                out=out,
                runs=runs_folder(),
                compute=compute,
                caller=own,
            )
        elif resume is not None:
            if asked != EvaluationOptions() or address != InputAddress("") or name:
                raise UsageError(
                    "--resume without a model continues with the settings of the run: "
                    "give only --out, --device, --batch-size and --json with it"
                )
            done = resume_evaluation(resume, out=out, compute=compute, caller=own)
        else:
            raise UsageError(
                "no model: give a run folder, a .safetensors file, zoo:NAME, file.py:factory, "
                "timm:NAME or hf:NAME"
            )
    if as_json:
        say_result(done.record, done.run)
        return
    from tempering.app.cli.result import show

    show(done.record, done.run)
