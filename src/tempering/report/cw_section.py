"""Section of a report: the three C&W measurements (bounded, minimum-norm, few iterations)."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import AnyRecord, MinimumNorm, Subject
from tempering.report import selection
from tempering.report.section import Section, tabled
from tempering.report.tables import ABSENT, Cell, Column, Table
from tempering.report.wording import BRIEF, NORMS, counted, norm, radius, settings

Row = tuple[Cell, dict[Subject, Cell]]
"""Head of a row, and one cell per model."""


def cw_section(records: Sequence[AnyRecord]) -> Section | None:
    """C&W margin loss within the threat, minimum-norm C&W, and the paper's variant."""
    rows = [
        *_accuracies(records, "standard", "C&W margin loss within the threat"),
        *_minimum_norm(records),
        *_accuracies(records, "paper", "C&W of the paper's protocol, few iterations"),
    ]
    if not rows:
        return None
    subjects = [
        subject for subject in selection.MODELS if any(subject in cells for _, cells in rows)
    ]
    table = Table(
        "carlini",
        "C&W: bounded, minimum-norm and with few iterations",
        (
            Column("Measurement", numeric=False),
            *(Column(BRIEF[subject].capitalize()) for subject in subjects),
        ),
        tuple(
            (head, *(cells.get(subject, ABSENT) for subject in subjects)) for head, cells in rows
        ),
        "The success rate of a minimum-norm attack must be about 100 %; otherwise its distances "
        "are invalid. Misclassified images count as successes at distance 0.",
    )
    prose = (
        "Unbounded C&W always succeeds, so accuracy under it has no meaning without a bound. Three "
        "measurements are therefore reported: its margin loss within the threat, the minimum L2 "
        "distance, and the variant with few iterations that fits the paper's figures."
    )
    return Section("carlini-wagner", "Carlini & Wagner attacks", (prose,), tabled([table]))


def _accuracies(records: Sequence[AnyRecord], protocol: selection.Protocol, what: str) -> list[Row]:
    rows: dict[tuple[str, float], Row] = {}
    for subject in selection.MODELS:
        for name, row in selection.measured(records, protocol, subject).items():
            if selection.family(row) == "cw":
                head = Cell(f"{what}: accuracy", f"{name}, {norm(row)} eps {radius(row.eps)}")
                rows.setdefault((name, row.eps), (head, {}))[1][subject] = counted(row.robust)
    return list(rows.values())


def _minimum_norm(records: Sequence[AnyRecord]) -> list[Row]:
    rows: dict[str, Row] = {}
    for record in selection.of_kind(records, MinimumNorm):
        for identity, head, cell in _distances(record):
            rows.setdefault(identity, (head, {}))[1][record.subject] = cell
    return list(rows.values())


def _distances(record: MinimumNorm) -> list[tuple[str, Cell, Cell]]:
    unit = NORMS.get(record.norm, record.norm)
    median = Cell("over half not found") if record.median is None else Cell(f"{record.median:.2f}")
    name = f"{'C&W' if record.attack.startswith('cw') else record.attack}, minimum {unit}"
    rows = [
        ("success", Cell(f"{name}: success", settings(record.config)), counted(record.found)),
        ("median", Cell(f"{name}: median distance over all images"), median),
    ]
    bounds = sorted(record.within.items(), key=lambda pair: _size(pair[0]))
    rows += [
        (f"within {bound}", Cell(f"{name}: accuracy at {unit} ≤ {bound}"), counted(count))
        for bound, count in bounds
    ]
    return [(f"{record.attack} {what}", head, cell) for what, head, cell in rows]


def _size(bound: str) -> float:
    try:
        return float(bound)
    except ValueError:
        return float("inf")
