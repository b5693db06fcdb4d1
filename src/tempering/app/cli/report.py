"""`temper report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import say, say_json


def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")] = Path("runs/latest"),
    as_json: options.Json = False,
) -> None:
    """Render the report of a run again from its records."""
    from tempering.core.files import followed
    from tempering.core.notes import note
    from tempering.paper.sections import SECTIONS
    from tempering.report.agreement import disagreements
    from tempering.report.reading import read_run
    from tempering.report.run_page import render

    page = render(run, SECTIONS)
    for told in disagreements(read_run(followed(run))):
        note(f"{run} does not agree with itself: {told}")
    if as_json:
        say_json({"report": str(page), "markdown": str(page.with_suffix(".md"))})
    else:
        say(str(page))
