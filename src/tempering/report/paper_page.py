"""The paper's Tables II to V beside ours as Markdown, and its Figures 2 to 6 as SVG."""

from __future__ import annotations

from pathlib import Path

from tempering.core.errors import RunError
from tempering.core.files import write_text
from tempering.report import choosing, curves, markdown
from tempering.report.exhibits import augmented_sheet, data_sheet
from tempering.report.findings import ATTACK_TABLES, by_table, finding_bars, finding_table
from tempering.report.reading import Run, read_run
from tempering.report.section import Sheet
from tempering.report.sheets import sheet_chart
from tempering.report.svg import Chart, standalone
from tempering.report.wording import whole

NAME = "reproduction.md"

Drawings = dict[str, tuple[str, tuple[Chart, ...]]]
"""Stem of a file -> caption and charts."""


def reproduction(run: Path, folder: Path) -> list[Path]:
    """Write the paper's tables and figures as far as a run reproduced them.

    Args:
        run: A run folder with findings.
        folder: Where `reproduction.md` and `figure-2.svg` to `figure-6.svg` go.

    Returns:
        The files written, the Markdown first.

    Raises:
        RunError: If the run holds no findings, a file is damaged, or the folder
            cannot be written.

    Example:
        `reproduction(Path("runs/latest"), Path("docs/reproduction"))`
    """
    read = read_run(run)
    if not by_table(read.records):
        raise RunError(f"{run} holds no findings: give the folder of a `temper reproduce` run")
    drawings = _drawings(read)
    pages = {folder / NAME: _page(read, drawings)}
    for stem, (_, charts) in drawings.items():
        pages[folder / f"{stem}.svg"] = standalone(*charts)
    for path, content in pages.items():
        write_text(path, content)
    return list(pages)


def _page(run: Run, drawings: Drawings) -> str:
    parts = [f"# The paper's tables and figures, reproduced on {markdown.text(run.summary.data)}"]
    parts.append(_setting(run))
    for number, found in by_table(run.records).items():
        parts.append(f"## Table {markdown.text(number)}")
        parts.append(markdown.table(finding_table(number, found)))
    for stem, (caption, charts) in drawings.items():
        number = stem.rpartition("-")[2]
        said = markdown.text(" ".join(chart.description for chart in charts))
        alt = said.replace("[", "(").replace("]", ")")
        parts.append(f"## Figure {number}")
        parts.append(f"![{alt}]({stem}.svg)")
        parts.append(markdown.text(f"The paper's Figure {number}: {caption}"))
    return "\n\n".join(parts) + "\n"


def _setting(run: Run) -> str:
    made = choosing.provenance(run.records)
    where = f", split {made.split}" if made else ""
    return markdown.text(
        f"{run.summary.model} on {run.summary.data}{where}; {whole(run.summary.n)} images, threat "
        f"{run.summary.threat}, seed {run.summary.seed}. Brackets hold 95 % intervals, in percent."
    )


def _drawings(run: Run) -> Drawings:
    drawings: Drawings = {}
    for stem, caption, sheet in (
        ("figure-2", "samples of the data.", data_sheet(run)),
        ("figure-3", "samples after augmentation.", augmented_sheet(run)),
    ):
        if sheet is not None:
            drawings[stem] = caption, (_sheet(sheet),)
    tables = by_table(run.records)
    for number, stem in ATTACK_TABLES.items():
        if number in tables:
            chart = finding_bars(number, tables[number])
            drawings[stem] = f"Table {number} as bars; pale ones are the paper's.", (chart,)
    epochs = curves.training(run.records, "hardened") or curves.training(run.records, "undefended")
    if epochs:
        drawings["figure-6"] = "accuracy and loss by epoch.", tuple(epochs)
    return drawings


def _sheet(sheet: Sheet) -> Chart:
    return sheet_chart(sheet.caption.rstrip("."), sheet.pictures)
