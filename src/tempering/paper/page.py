"""The paper's Tables II to V reproduced as Markdown, and its Figures 2 to 6 as SVG."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from tempering.core.errors import RunError
from tempering.core.files import write_text
from tempering.paper.findings import ATTACK_TABLES, by_table, finding_bars, finding_table
from tempering.report import markdown, selection
from tempering.report.gallery_section import augmented_sheet, data_sheet
from tempering.report.reading import Run, read_run
from tempering.report.section import PictureSheet
from tempering.report.svg import Chart, element, join, standalone
from tempering.report.training_section import training_charts
from tempering.report.wording import whole

NAME = "reproduction.md"

SIDE, GAP, LINE, COLUMNS = 64.0, 14.0, 20.0, 6
MAX_LETTERS = 9
"""A longer name is cut in the drawing; the description has it whole."""

Drawings = dict[str, tuple[str, tuple[Chart, ...]]]
"""File name without suffix -> caption and charts."""


def reproduction(run: Path, folder: Path) -> list[Path]:
    """Write the tables and figures of the paper that a run reproduced.

    Args:
        run: A run folder with findings.
        folder: Output folder of `reproduction.md` and `figure-2.svg` to `figure-6.svg`.

    Returns:
        The files written, the Markdown first.

    Raises:
        RunError: If the run has no findings, a file is damaged, or the folder
            cannot be written.

    Example:
        `reproduction(Path("runs/latest"), Path("docs/reproduction"))`
    """
    read = read_run(run)
    if not by_table(read.records):
        raise RunError(f"{run} has no findings: give the folder of a `temper reproduce` run")
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
    for number, findings in by_table(run.records).items():
        parts.append(f"## Table {markdown.text(number)}")
        parts.append(markdown.table(finding_table(number, findings)))
    for stem, (caption, charts) in drawings.items():
        number = stem.rpartition("-")[2]
        description = markdown.text(" ".join(chart.description for chart in charts))
        alt = description.replace("[", "(").replace("]", ")")
        parts.append(f"## Figure {number}")
        parts.append(f"![{alt}]({stem}.svg)")
        parts.append(markdown.text(f"The paper's Figure {number}: {caption}"))
    return "\n\n".join(parts) + "\n"


def _setting(run: Run) -> str:
    provenance = selection.provenance(run.records)
    where = f", split {provenance.split}" if provenance else ""
    return markdown.text(
        f"{run.summary.model} on {run.summary.data}{where}; {whole(run.summary.n)} images, threat "
        f"{run.summary.threat}, seed {run.summary.seed}. Brackets are 95 % intervals, in percent."
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
            drawings[stem] = f"Table {number} as bars; those of the paper are pale.", (chart,)
    epochs = training_charts(run.records, "hardened") or training_charts(run.records, "undefended")
    if epochs:
        drawings["figure-6"] = "accuracy and loss by epoch.", tuple(epochs)
    return drawings


def _sheet(sheet: PictureSheet) -> Chart:
    """Images in rows, each with its name below."""
    parts: list[Markup] = []
    for at, picture in enumerate(sheet.pictures):
        row, column = divmod(at, COLUMNS)
        x, y = column * (SIDE + GAP), row * (SIDE + LINE + GAP)
        parts.append(element("image", x=x, y=y, width=SIDE, height=SIDE, href=picture.source))
        label = element("text", _cut(picture.label), x=x + SIDE / 2, y=y + SIDE + 15)
        parts.append(element("g", label, text_anchor="middle"))
    rows = -(-len(sheet.pictures) // COLUMNS)
    width = min(len(sheet.pictures), COLUMNS) * (SIDE + GAP) - GAP
    labels = ", ".join(picture.label for picture in sheet.pictures)
    description = f"{len(sheet.pictures)} images: {labels}."
    height = rows * (SIDE + LINE + GAP)
    return Chart(sheet.caption.rstrip("."), description, width, height, join(*parts))


def _cut(name: str) -> str:
    return name if len(name) <= MAX_LETTERS else name[: MAX_LETTERS - 1] + "…"
