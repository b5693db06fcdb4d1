"""`temper certify`."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say
from tempering.app.cli.durations import parse_seconds
from tempering.app.cli.early_checks import check_early
from tempering.core.errors import UsageError
from tempering.core.threat_words import with_value


def certify(
    model: options.Model,
    weights: options.Weights = None,
    factory: options.Factory = None,
    data: options.Data = None,
    split: options.Split = None,
    threat: options.ThreatText = None,
    samples: options.Samples = None,
    subset: options.Subset = "stratified",
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="interval, crown-ibp, crown, alpha-crown or branching; repeatable; default all.",
        ),
    ] = None,
    smoothing: Annotated[
        float | None,
        typer.Option(
            "--smoothing",
            help="Certify the smoothed classifier instead, with noise of this sigma, in L2.",
        ),
    ] = None,
    votes: Annotated[
        int | None,
        typer.Option(
            "--votes", min=1, help="Noisy copies of each sample, with --smoothing; default 10,000."
        ),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            "--time", help="Time after which no new work is started, such as 90s, 10m or 1h."
        ),
    ] = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = options.BATCH_SIZE,
    as_json: options.Json = False,
) -> None:
    """Certify, for each sample, that no perturbation within the threat changes the prediction."""
    if votes is not None and smoothing is None:
        raise UsageError(f"--votes {votes} without --smoothing: give --smoothing SIGMA with it")
    if smoothing is not None and not 0 < smoothing < math.inf:
        raise UsageError(f"--smoothing {smoothing:g}: give a sigma above 0, such as 0.25")
    if "smoothing" in (methods or []):
        raise UsageError("method smoothing: give --smoothing SIGMA, such as --smoothing 0.25")
    seconds = None if limit is None else parse_seconds(limit)
    check_early(model, factory=factory, weights=weights, data=data, threat=threat)
    from tempering.app.certify import certify_address
    from tempering.app.compute import Compute
    from tempering.app.load_inputs import InputAddress
    from tempering.certification.smoothing import Smoothing

    settings: dict[str, int] = {} if votes is None else {"samples": votes}

    with progress():
        done = certify_address(
            InputAddress(model, weights, data, split, threat, seed, factory),
            samples=samples,
            subset=subset,
            methods=methods,
            smoothing=None if smoothing is None else Smoothing(sigma=smoothing, **settings),
            seconds=seconds,
            compute=Compute(device, batch_size),
        )
    if as_json:
        say(done.model_dump_json(indent=2))
        return
    low, high = (100 * bound for bound in done.interval)
    subject = "" if done.of == "model" else ", smoothed"
    say(f"{done.model}{subject}, on {done.data}, {with_value(done.threat)}, seed {done.seed}")
    if done.settings:
        sigma, draws = done.settings["sigma"], int(done.settings["samples"])
        say(f"noise                 sigma {sigma:g}, {draws:,} noisy copies of each sample")
    say(f"clean correct         {done.clean_correct} of {done.n}")
    say(f"certified             {done.certified_correct} ({low:.1f} to {high:.1f} %)")
    wrong = f" ({done.misclassified} misclassified)" if done.misclassified else ""
    say(f"refuted               {done.refuted}{wrong}")
    say(f"undecided             {done.undecided}")
    if done.unreached:
        say(f"  the time was up before all draws were made for {done.unreached} of them")
    for name, part in done.by_method.items():
        refuted = f", {part.refuted} refuted" if part.refuted else ""
        counts = f"{part.certified} of {part.samples} certified{refuted}"
        say(f"  {name}: {counts}, {part.seconds:.1f} s")
    if done.not_run:
        say(f"not run               {done.not_run}")
    if done.unsupported is not None:
        say(f"abstained: {done.unsupported}")
