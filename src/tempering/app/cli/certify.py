"""`temper certify`."""

from __future__ import annotations

from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say
from tempering.app.cli.durations import parse_seconds


def certify(
    model: options.Model,
    weights: options.Weights = None,
    data: options.Data = None,
    split: options.Split = None,
    threat: options.ThreatText = None,
    samples: options.Samples = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="interval, crown-ibp, crown, alpha-crown or branching; repeatable, all if none.",
        ),
    ] = None,
    smoothing: Annotated[
        float | None,
        typer.Option("--smoothing", help="Certify the vote under noise of this sigma, in L2."),
    ] = None,
    votes: Annotated[
        int, typer.Option("--votes", help="Noisy images a sample, with --smoothing.")
    ] = 10_000,
    limit: Annotated[
        str | None,
        typer.Option("--time", help="How long to begin new work, such as 90s, 10m or 1h."),
    ] = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
) -> None:
    """Prove, sample by sample, that nothing within the threat changes the answer."""
    from tempering.app.certify import certify_address
    from tempering.certification.smoothing import Smoothing

    with progress():
        done = certify_address(
            model,
            weights=weights,
            data=data,
            split=split,
            threat=threat,
            samples=samples,
            methods=methods,
            smoothing=None if smoothing is None else Smoothing(sigma=smoothing, samples=votes),
            seconds=None if limit is None else parse_seconds(limit),
            seed=seed,
        )
    if as_json:
        say(done.model_dump_json(indent=2))
        return
    low, high = (100 * bound for bound in done.interval)
    whom = "" if done.of == "model" else ", the model's vote under noise"
    say(f"{done.model}{whom}, on {done.data}, {done.threat}, seed {done.seed}")
    say(f"right without attack  {done.clean_correct} of {done.n}")
    say(f"certified             {done.certified_correct} ({low:.1f} to {high:.1f} %)")
    say(f"refuted               {done.refuted}")
    say(f"undecided             {done.undecided}")
    for name, one in done.by_method.items():
        say(f"  {name}: {one.certified} of {one.samples} certified, {one.seconds:.1f} s")
    if done.unsupported is not None:
        say(f"abstained: {done.unsupported}")
