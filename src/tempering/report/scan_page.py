"""The page of a scan of training data: suspects, scores, and what dropping them would cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tempering.core.files import write_text
from tempering.core.scan_records import ScanRecord, Suspect
from tempering.report.line_chart import Point, Series, axis, in_percent, line_chart
from tempering.report.pictures import png
from tempering.report.run_page import html
from tempering.report.section import (
    Example,
    Examples,
    Facts,
    Figure,
    Picture,
    Report,
    Section,
    TableBlock,
)
from tempering.report.svg import Chart
from tempering.report.tables import Cell, Column, Table, Tone
from tempering.report.wording import duration, percent, whole

Images = Mapping[str, NDArray[np.float32]]

SHOWN = 48
"""Suspects with pictures."""


def write_page(record: ScanRecord, images: Images, path: Path) -> Path:
    """Write the page; it opens offline.

    Args:
        record: What was found.
        images: Images of suspects and of their neighbours by id, shape (c, h, w), in [0, 1].
        path: The HTML file.

    Raises:
        RunError: If it cannot be written.
    """
    write_text(path, html(report_of(record, images)))
    return path


def report_of(record: ScanRecord, images: Images) -> Report:
    """The page as sections."""
    sections = (
        _summary(record),
        _suspects(record, images),
        _scores(record),
        _classes(record),
        _scans(record),
    )
    return Report(
        title="Scan of training data",
        subtitle=f"{record.data}, {whole(record.n)} samples, seed {record.seed}",
        sections=tuple(section for section in sections if section is not None),
        source="scan.json",
    )


def _summary(record: ScanRecord) -> Section:
    wrong = record.verdict == "suspicious"
    found = f"{whole(record.suspects)} of {whole(record.n)}"
    reference = record.reference or "none: estimated from the data"
    seen = ", ".join(f"{name} {percent(share, 0)}" for name, share in record.planted.items())
    rows = (
        ("verdict", Cell(record.verdict, tone="bad" if wrong else "good")),
        ("suspects", Cell(found, f"{percent(record.suspects / record.n, 2)} of the samples")),
        ("rounds", Cell(whole(record.rounds))),
        ("by chance alone", Cell(f"about {record.expected:,.0f}", f"at {percent(record.fpr, 2)}")),
        ("probability in clean data", Cell(f"{record.p_value:.2g}")),
        ("sees of its own test poison", Cell(seen)),
        ("clean reference", Cell(reference)),
        ("features", Cell(record.features)),
        (
            "equal images",
            Cell(
                f"{whole(record.duplicates)} pairs within a split",
                f"{whole(record.leaks)} across splits, {whole(record.contradictions)} with "
                "different labels",
            ),
        ),
        ("time", Cell(duration(record.seconds))),
    )
    return Section("summary", "Summary", (_verdict(record),), (Facts("Result of the scan", rows),))


def _verdict(record: ScanRecord) -> str:
    chance = (
        f"{whole(record.suspects)} samples score above the threshold; chance alone gives about "
        f"{record.expected:,.0f}."
    )
    if record.verdict == "suspicious":
        return f"The data are suspicious. {chance} Look at the first suspects below."
    return f"Nothing wrong was found. {chance} The suspects are the least usual samples."


def _suspects(record: ScanRecord, images: Images) -> Section | None:
    shown = [one for one in record.top if one.id in images][:SHOWN]
    if not shown:
        return None
    caption = (
        f"The {len(shown)} most suspect samples of {whole(record.suspects)}, the most suspect "
        "first, each with its nearest neighbours in pixels that are not suspect."
    )
    examples = tuple(_example(one, images) for one in shown)
    return Section("suspects", "Suspects", (), (Examples("suspects-figure", caption, examples),))


def _example(one: Suspect, images: Images) -> Example:
    near = [
        Picture(png(images[name]), f"neighbour {name} of class {label}", label)
        for name, label in zip(one.neighbours, one.neighbour_labels, strict=True)
        if name in images
    ]
    own = Picture(png(images[one.id]), f"suspect {one.id}, labelled {one.label}", "suspect")
    return Example(
        f"{one.id}, labelled {one.label}",
        (own, *near),
        (("most like", one.like, ""), *_reasons(one.reason)),
    )


def _reasons(text: str) -> tuple[tuple[str, str, Tone], ...]:
    """What scans say, each with a row of its own."""
    said = text.replace(" %", "\N{NO-BREAK SPACE}%").split("; ")
    return tuple(("and" if at else "why", part, "") for at, part in enumerate(said))


def _scores(record: ScanRecord) -> Section:
    spread = record.scores
    middles = [(low + high) / 2 for low, high in zip(spread.edges, spread.edges[1:], strict=False)]
    lines = [
        _shares("the data", middles, spread.data, "after"),
        _shares("planted copies", middles, spread.planted, "before"),
    ]
    highest = max(point.y for line in lines for point in line.points)
    chart: Chart = line_chart(
        "Distribution of scores",
        "Share of the data and of planted copies by score.",
        lines,
        axis(spread.edges[0], spread.edges[-1], "score"),
        axis(0.0, highest, "share", in_percent),
        (0.0, "threshold"),
    )
    prose = (
        "The score is by how much the log of the odds of planted poison against the data is above "
        "its threshold. The less the two curves overlap, the better the scan tells such poison "
        "from clean samples."
    )
    caption = "Scores of the data and of the poisoned copies that the scan planted itself"
    return Section("scores", "Scores", (prose,), (Figure("scores-figure", caption, (chart,)),))


def _shares(label: str, middles: list[float], counts: list[int], mark: str) -> Series:
    total = max(1, sum(counts))
    points = tuple(Point(x, count / total) for x, count in zip(middles, counts, strict=True))
    return Series(label, points, mark)


def _classes(record: ScanRecord) -> Section:
    rows = tuple(
        (
            Cell(one.name),
            Cell(whole(one.n)),
            Cell(whole(one.suspects)),
            Cell(percent(one.suspects / one.n, 2) if one.n else "–"),
            Cell(whole(one.n - one.suspects)),
        )
        for one in record.classes
    )
    table = Table(
        "classes-table",
        "Samples of each class, and what is left without the suspects",
        (
            Column("class", numeric=False),
            Column("samples"),
            Column("suspects"),
            Column("share"),
            Column("left"),
        ),
        rows,
    )
    return Section("classes", "What dropping would cost", (), (TableBlock(table),))


def _scans(record: ScanRecord) -> Section:
    kinds = list(record.planted)
    rows = tuple(
        (
            Cell(row.name),
            *(Cell(percent(row.planted[kind], 0)) for kind in kinds),
            Cell(row.summary or "–"),
        )
        for row in record.scans
    )
    all_of_them = (
        Cell("ensemble"),
        *(Cell(percent(record.planted[kind], 0)) for kind in kinds),
        Cell("all of them together"),
    )
    table = Table(
        "scans-table",
        "Share of the planted copies that each scan finds, and what it says of the data",
        (
            Column("scan", numeric=False),
            *(Column(kind, detail="planted") for kind in kinds),
            Column("the data", numeric=False),
        ),
        (*rows, all_of_them),
        note=(
            f"A single scan may flag {percent(record.fpr, 2)} of the data. How well a scan finds "
            "what was planted tells how well it would find such poison here, and nothing of "
            "other kinds."
        ),
        foot=1,
    )
    return Section("scans", "Scans", (), (TableBlock(table),))
