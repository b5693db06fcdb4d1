"""Section of a report: accuracy under common corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tempering.core.corruption_records import CorruptionResult, by_severity
from tempering.core.records import AnyRecord
from tempering.report import selection
from tempering.report.line_chart import Point, Series, axis, in_percent, line_chart
from tempering.report.section import Section, TableBlock, drawn
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Table, named
from tempering.report.wording import bracket, listed, percent, whole

Rows = Mapping[str, Sequence[CorruptionResult]]
"""Corruption -> its results, mild severities first."""

LINE_STYLES = (("after", "none"), ("before", "6 4"), ("third", "none"), ("fourth", "6 4"))
"""Colour and dash of each line of a chart."""

PROSE = (
    "This is not adversarial robustness. These corruptions are not optimised against the model: a "
    "model can be accurate under all of them and fail under the weakest attack, and the other way "
    "round. These numbers enter no other section."
)
CAPTION = (
    "Accuracy by severity of the corruption; severity 0 is the clean image. The table has the "
    "confidence intervals."
)


def corruptions_section(records: Sequence[AnyRecord]) -> Section | None:
    """Accuracy by corruption and severity; None if it was not measured."""
    rows = by_severity(selection.of_kind(records, CorruptionResult))
    if not rows:
        return None
    charts = [_chart({name: rows[name] for name in part}) for part in _panels(list(rows))]
    return Section(
        "corruptions",
        "Common corruptions (not adversarial)",
        (PROSE,),
        (
            *drawn("corruptions-figure", CAPTION, charts),
            TableBlock(_table(rows)),
            TableBlock(_amounts(rows), folded=True),
        ),
    )


def _panels(names: Sequence[str]) -> list[Sequence[str]]:
    """Split names evenly over as few charts as the line styles allow."""
    charts = -(-len(names) // len(LINE_STYLES))
    size = -(-len(names) // charts)
    return [names[at : at + size] for at in range(0, len(names), size)]


def _chart(rows: Rows) -> Chart:
    lines = [
        Series(
            name,
            (
                Point(0.0, row[0].clean.fraction),
                *(Point(result.severity, result.correct.fraction) for result in row),
            ),
            *style,
        )
        for (name, row), style in zip(rows.items(), LINE_STYLES, strict=False)
    ]
    description = "; ".join(
        f"{line.label}: from {percent(line.points[0].y)} to {percent(line.points[-1].y)}"
        for line in lines
    )
    last = max(point.x for line in lines for point in line.points)
    title = listed(list(rows))
    return line_chart(
        f"{title[:1].upper()}{title[1:]}",
        f"{description}.",
        lines,
        axis(0.0, last, "severity", least=1.0),
        axis(0.0, 1.0, "accuracy", in_percent),
    )


def _table(rows: Rows) -> Table:
    severities = _severities(rows)
    clean = next(iter(rows.values()))[0].clean
    cells = tuple(
        (
            Cell(name),
            *(_cell({result.severity: result for result in row}.get(at)) for at in severities),
        )
        for name, row in rows.items()
    )
    return Table(
        "corruptions-table",
        "Accuracy by corruption and severity",
        named("Corruption", *map(str, severities)),
        cells,
        f"Accuracy on {whole(clean.n)} images; clean accuracy is {clean}.",
    )


def _amounts(rows: Rows) -> Table:
    severities = _severities(rows)
    cells = tuple(
        (
            Cell(name, row[0].unit),
            *(_amount({result.severity: result for result in row}.get(at)) for at in severities),
        )
        for name, row in rows.items()
    )
    return Table(
        "corruptions-severities",
        "Strength of each severity",
        named("Corruption", *map(str, severities)),
        cells,
        "These severities are Tempering's own; accuracies are not comparable with ImageNet-C or "
        "MNIST-C.",
    )


def _severities(rows: Rows) -> list[int]:
    return sorted({result.severity for row in rows.values() for result in row})


def _amount(result: CorruptionResult | None) -> Cell:
    return ABSENT if result is None else Cell(f"{result.amount:g}")


def _cell(result: CorruptionResult | None) -> Cell:
    if result is None:
        return ABSENT
    return Cell(percent(result.correct.fraction), bracket(result.correct.interval))
