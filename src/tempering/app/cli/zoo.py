"""`temper zoo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import near, say, say_json

app = typer.Typer(
    help="Show, copy, compare and add trained models.", no_args_is_help=True, rich_markup_mode=None
)

Entry = Annotated[str, typer.Argument(help="Name of the entry, as `temper list zoo` shows it.")]


@app.callback()
def zoo() -> None:
    """Show, copy, compare and add trained models."""


@app.command("show")
def show(name: Entry, as_json: options.Json = False) -> None:
    """Show the card of an entry: its figures, how they were measured, how it was trained."""
    from tempering.app.cli.zoo_card import lines
    from tempering.models.zoo.entries import card

    told = card(name)
    if as_json:
        say_json({**told.row(), **json.loads(told.model_dump_json())})
        return
    for line in lines(told):
        say(line)


@app.command("fetch")
def fetch(
    name: Entry,
    out: Annotated[Path, typer.Option("--out", help="A new folder for weights and card.")],
) -> None:
    """Copy an entry into a folder that every command reads as a model."""
    from tempering.models.zoo.entries import entry_folder

    entry_folder(name)
    from tempering.app.zoo_fetch import fetch as copy

    say(str(near(copy(name, out))))


@app.command("leaderboard")
def leaderboard(
    out: Annotated[Path, typer.Option("--out", help="The .html file to write.")],
) -> None:
    """Write a page with all entries side by side."""
    from tempering.core.errors import UsageError
    from tempering.models.zoo.entries import cards
    from tempering.report.zoo_page import write_leaderboard

    if out.suffix.lower() != ".html":
        raise UsageError(f"--out {out}: give a file that ends in .html")
    say(str(near(write_leaderboard(cards(), out))))


@app.command("pack")
def pack(
    run: Annotated[Path, typer.Argument(help="A finished run of temper harden.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the packed model.")],
) -> None:
    """Store a hardened model in float16, to be evaluated and added."""
    from tempering.app.zoo_pack import pack as packed

    packed(run, out)
    say(str(near(out)))


@app.command("add")
def add(
    run: Annotated[Path, typer.Argument(help="A finished evaluation of a packed model.")],
    name: Annotated[str, typer.Option("--name", help="Of the entry, such as mnist-linf-0.1.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of entries to add it to.")],
) -> None:
    """Make an entry from an evaluation of a packed model on the whole official test set."""
    from tempering.app.cli.zoo_card import lines
    from tempering.app.zoo_add import add as added

    for line in lines(added(run, name, out)):
        say(line)
