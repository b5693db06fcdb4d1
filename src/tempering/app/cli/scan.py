"""`temper scan`."""

from __future__ import annotations

import typer

from tempering.app.cli import scan_model

app = typer.Typer(help="Scan models for backdoors.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def scan() -> None:
    """Scan models for backdoors."""


app.command("model")(scan_model.scan_model)
