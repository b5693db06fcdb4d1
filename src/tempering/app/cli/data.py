"""`temper data`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import say, say_json
from tempering.core.errors import UsageError

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
        Path | None,
        typer.Option("--picture", help="The .png file to write a picture of samples to."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show class balance, pixel ranges, duplicates and leaks; with --picture draw samples."""
    if picture is not None and picture.suffix.lower() != ".png":
        raise UsageError(f"--picture {picture}: give a file that ends in .png")
    from tempering.app.cli.inspected import text
    from tempering.data.inspection import inspect as look
    from tempering.data.loading import load

    inspection = look(load(source, split or "official", seed or 0))
    if picture is not None:
        inspection.save_picture(picture)
    if as_json:
        where = None if picture is None else str(picture)
        say_json({**json.loads(inspection.model_dump_json()), "picture": where})
        return
    say(text(inspection))
    if picture is not None:
        say(f"picture: {picture}")
