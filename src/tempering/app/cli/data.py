"""`temper data`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import say, say_json

app = typer.Typer(help="Inspect data.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Inspect data."""


@app.command("inspect")
def inspect(
    source: Annotated[str, typer.Argument(help="Address of the data, such as mnist or npz:FILE.")],
    split: options.Split = None,
    seed: options.Seed = None,
    picture: Annotated[
        Path, typer.Option("--picture", help="File for a picture of samples.")
    ] = Path("data.png"),
    as_json: options.Json = False,
) -> None:
    """Show class balance, pixel ranges, duplicates and leaks, and draw samples."""
    from tempering.app.cli.inspected import text
    from tempering.data.inspection import inspect as look
    from tempering.data.loading import load

    inspection = look(load(source, split or "official", seed or 0))
    inspection.save_picture(picture)
    if as_json:
        say_json({**json.loads(inspection.model_dump_json()), "picture": str(picture)})
        return
    say(text(inspection))
    say(f"picture: {picture}")
