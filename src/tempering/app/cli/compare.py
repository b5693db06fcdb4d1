"""`temper compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import say


def compare(
    first: Annotated[Path, typer.Argument(help="The folder of an evaluated run.")],
    second: Annotated[Path, typer.Argument(help="Another one, on the same data.")],
    as_json: options.Json = False,
) -> None:
    """Compare two evaluated runs sample by sample; nothing is evaluated again."""
    from tempering.app.against import compare_runs
    from tempering.app.cli.comparison import comparison

    found = compare_runs(first, second)
    if as_json:
        say(found.model_dump_json(indent=2))
        return
    say(f"{found.first.model} (run {found.first.run}), {found.threat}")
    for line in comparison(found):
        say(line)
