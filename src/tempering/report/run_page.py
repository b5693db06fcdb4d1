"""Write the report of a run: one self-contained HTML file, and Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tempering.core.files import followed, write_text
from tempering.report import markdown
from tempering.report.contents import SectionBuilder, report_of
from tempering.report.palette import page_css
from tempering.report.reading import read_run
from tempering.report.section import Report
from tempering.report.svg import inline


def render(run: Path, extra: Sequence[SectionBuilder] = ()) -> Path:
    """Write `report.html` and `report.md` into a run folder.

    Args:
        run: Holds `records.jsonl`, `summary.json` and, if images were kept, `gallery.npz`.
        extra: Sections that other rooms add.

    Returns:
        Path of `report.html`.

    Raises:
        RunError: If a file is missing or damaged, or the folder cannot be written.

    Example:
        `render(Path("runs/latest"))`
    """
    run = followed(run)
    report = report_of(read_run(run), extra)
    page = html(report)
    write_text(run / "report.md", markdown.page(report))
    write_text(run / "report.html", page)
    return run / "report.html"


def html(report: Report) -> str:
    """A report as one self-contained page."""
    environment = Environment(
        loader=PackageLoader("tempering.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tight"] = _tight
    environment.filters["pieces"] = _pieces
    environment.globals["drawing"] = inline
    return environment.get_template("report.html.j2").render(
        report=report, numbers=report.numbers(), marks=Markup(page_css())
    )


def _tight(text: str) -> str:
    """Keep a number and its percent sign on one line."""
    return re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", text)


def _pieces(text: str) -> list[str]:
    """Parts of a detail that each stay on one line: what comes before an interval, and it."""
    return re.split(r" (?=\[[^\[]*\]$)", text)
