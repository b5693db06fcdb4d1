"""`temper zoo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import near, say, say_json

if TYPE_CHECKING:
    from tempering.core.zoo_records import Card

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
    from tempering.models.zoo.entries import card

    _say_card(card(name), as_json)


@app.command("fetch")
def fetch(
    name: Entry,
    out: Annotated[Path, typer.Option("--out", help="A new folder for weights and card.")],
    as_json: options.Json = False,
) -> None:
    """Copy an entry into a folder that every command reads as a model."""
    from tempering.models.zoo.entries import entry_folder

    entry_folder(name)
    from tempering.app.zoo_fetch import fetch as copy

    _say_path("folder", copy(name, out), as_json)


@app.command("leaderboard")
def leaderboard(
    out: Annotated[Path, typer.Option("--out", help="The .html file to write.")],
    as_json: options.Json = False,
) -> None:
    """Write a page with all entries side by side."""
    from tempering.core.errors import UsageError
    from tempering.models.zoo.entries import cards
    from tempering.report.zoo_page import write_leaderboard

    if out.suffix.lower() != ".html":
        raise UsageError(f"--out {out}: give a file that ends in .html")
    _say_path("page", write_leaderboard(cards(), out), as_json)


@app.command("pack")
def pack(
    run: Annotated[Path, typer.Argument(help="A finished run of temper harden.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the packed model.")],
    as_json: options.Json = False,
) -> None:
    """Store a hardened model in float16, to be evaluated and added."""
    from tempering.app.zoo_pack import pack as packed

    packed(run, out)
    _say_path("folder", out, as_json)


@app.command("add")
def add(
    run: Annotated[Path, typer.Argument(help="A finished evaluation of a packed model.")],
    name: Annotated[str, typer.Option("--name", help="Of the entry, such as mnist-linf-0.1.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of entries to add it to.")],
    as_json: options.Json = False,
) -> None:
    """Make an entry from an evaluation of a packed model on the whole official test set."""
    from tempering.app.zoo_add import add as added

    _say_card(added(run, name, out), as_json)


def _say_card(card: Card, as_json: bool) -> None:
    from tempering.app.cli.zoo_card import lines

    if as_json:
        say_json({**card.row(), **json.loads(card.model_dump_json())})
        return
    for line in lines(card):
        say(line)


def _say_path(what: str, path: Path, as_json: bool) -> None:
    if as_json:
        say_json({what: str(near(path))})
    else:
        say(str(near(path)))
