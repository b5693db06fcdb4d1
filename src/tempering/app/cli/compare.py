"""`temper compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import say
from tempering.core.threat_words import with_value


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a finished evaluation.")],
    second: Annotated[Path, typer.Argument(help="Another one, on the same data.")],
    as_json: options.Json = False,
) -> None:
    """Compare two finished evaluations sample by sample, without evaluating again."""
    from tempering.app.cli.comparison import comparison_lines
    from tempering.app.compare import compare_runs

    comparison = compare_runs(first, second)
    if as_json:
        say(comparison.model_dump_json(indent=2))
        return
    say(f"{comparison.first.model} (run {comparison.first.run}), {with_value(comparison.threat)}")
    for line in comparison_lines(comparison):
        say(line)
