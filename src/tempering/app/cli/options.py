"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        help="A run folder, a .safetensors with its manifest, zoo:NAME, file.py:factory, "
        "timm:NAME or hf:NAME."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Data = Annotated[
    str | None,
    typer.Option("--data", help="Address of the data, such as mnist, npz:FILE or imagefolder:DIR."),
]
Split = Annotated[str | None, typer.Option("--split", help="Split of the data: official or paper.")]
ThreatText = Annotated[
    str | None,
    typer.Option("--threat", help="Threat model: norm and eps, such as linf:0.3 or l2:2."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of all random numbers.")]
Samples = Annotated[int | None, typer.Option("--samples", help="Number of test images.")]
Subset = Annotated[
    str,
    typer.Option("--subset", help="Which test images: stratified by class and id, or first."),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Weights for file.py:factory: .safetensors, .pt or .pth."),
]
Factory = Annotated[
    str | None,
    typer.Option(
        "--model", help="file.py:factory that builds a run's network, where its file has moved."
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", help="Name of a recipe, or path of a .toml file; default: default."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a value of the recipe: section.key=value; repeatable."),
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the run folder under runs/.")]
Device = Annotated[
    str, typer.Option("--device", help="Where to compute: auto, cpu, cuda, cuda:N or mps.")
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        min=1,
        help="Images at a time in attacks, certificates and predictions; a recipe has the "
        "mini-batches of training. It changes memory and time, but no random draw; by rounding "
        "at most 1 in 1,000 verdicts may differ.",
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Take a first look: fewer samples and a short schedule, named in the result.",
    ),
]
NoSurrogate = Annotated[
    bool,
    typer.Option(
        "--no-surrogate",
        help="Train no surrogate; the result says what is then not measured.",
    ),
]
BATCH_SIZE = 256
"""The default of `--batch-size`; as in `app.compute`, which imports torch."""
