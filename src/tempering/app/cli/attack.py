"""`temper attack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say
from tempering.app.cli.early_checks import check_early
from tempering.core.threat_words import with_value


def attack(
    model: options.Model,
    spec: Annotated[str, typer.Option("--attack", help="NAME or NAME:key=value,...")],
    out: Annotated[Path, typer.Option("--out", help="The .npz file to write.")],
    weights: options.Weights = None,
    factory: options.Factory = None,
    data: options.Data = None,
    split: options.Split = None,
    threat: options.ThreatText = None,
    samples: options.Samples = None,
    subset: options.Subset = "stratified",
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets", help="A class, next, random, or one class for each sample: 3,1,..."
        ),
    ] = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = options.BATCH_SIZE,
    as_json: options.Json = False,
) -> None:
    """Attack a model, and write the adversarial images with their distances and passes."""
    check_early(model, factory=factory, weights=weights, data=data, threat=threat, attacks=[spec])
    from tempering.app.attack import attack_address
    from tempering.app.compute import Compute
    from tempering.app.load_inputs import InputAddress

    with progress():
        done = attack_address(
            InputAddress(model, weights, data, split, threat, seed, factory),
            spec,
            out,
            samples=samples,
            subset=subset,
            targets=targets,
            compute=Compute(device, batch_size),
        )
    if as_json:
        say(done.model_dump_json(indent=2))
        return
    success = "misclassified" if targets is None else "classified as their target"
    say(f"{done.attack}, {with_value(done.threat)}: {done.success} of {done.n} images {success}")
    if done.left_out:
        say(f"left out, of the target class already: {done.left_out}")
    say(f"without attack: {done.before}")
    if done.no_start:
        say(
            f"no starting image found: {done.no_start}; these failures are no evidence of "
            "robustness: give starts=DATA, such as starts=mnist, or more tries"
        )
    if done.median_distance_of_successes is not None:
        say(f"median distance of successes: {done.median_distance_of_successes:.4g}")
    passes = f"{done.forwards / done.n:.1f} forward and {done.backwards / done.n:.1f} backward"
    say(f"passes per sample: {passes}")
    say(f"images: {done.out}")
