"""Options that several commands share, each with one name and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(help="A run folder, a .safetensors with its manifest, or file.py:factory."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Data = Annotated[
    str | None,
    typer.Option("--data", help="Data, such as mnist, npz:FILE or imagefolder:DIR."),
]
Split = Annotated[str | None, typer.Option("--split", help="How to split: official or paper.")]
ThreatText = Annotated[
    str | None,
    typer.Option("--threat", help="What an attacker may change, such as linf:0.3 or l2:2."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of all random draws.")]
Samples = Annotated[
    int | None, typer.Option("--samples", help="Test images of the standard protocol.")
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Weights for file.py:factory: .safetensors, .pt or .pth."),
]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="A recipe's name, or the path of a .toml file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a recipe's value, as section.key=value; repeatable."),
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the run, under runs/.")]
