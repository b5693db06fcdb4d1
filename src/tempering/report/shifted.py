"""Accuracy under common corruptions, clearly apart from accuracy under attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tempering.core.records import AnyRecord
from tempering.core.shifts import Shift
from tempering.report import choosing
from tempering.report.lines import Point, Series, axis, in_percent, line_chart
from tempering.report.section import Section, Tabled, drawn
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Table, named
from tempering.report.wording import bracket, listed, percent, whole

Rows = Mapping[str, Sequence[Shift]]
"""Corruption -> its measurements, mild first."""

LOOKS = (("after", "none"), ("before", "6 4"), ("third", "none"), ("fourth", "6 4"))
"""Colour and dash of each line of a chart."""

PROSE = (
    "This is not adversarial robustness. Cameras, files and hands change images without looking at "
    "the model, and an attacker looks. A model can stand all of this and fall to the first attack, "
    "and the other way round; so these numbers count in no other section."
)
CAPTION = (
    "Accuracy as a corruption grows; at severity 0 the image is as it was. Nothing is chosen "
    "against the model; the table has the intervals."
)


def shifted(records: Sequence[AnyRecord]) -> Section | None:
    """Accuracy by corruption and severity; nothing if it was not measured."""
    found = choosing.of_kind(records, Shift)
    names = list(dict.fromkeys(one.corruption for one in found))
    if not names:
        return None
    rows = {
        name: sorted((one for one in found if one.corruption == name), key=lambda one: one.severity)
        for name in names
    }
    charts = [_chart({name: rows[name] for name in part}) for part in _panels(names)]
    return Section(
        "shifts",
        "Common corruptions (not adversarial)",
        (PROSE,),
        (
            *drawn("shifts-figure", CAPTION, charts),
            Tabled(_table(rows)),
            Tabled(_amounts(rows), folded=True),
        ),
    )


def _panels(names: Sequence[str]) -> list[Sequence[str]]:
    """Names in as few charts as there are looks for, about equally many in each."""
    charts = -(-len(names) // len(LOOKS))
    size = -(-len(names) // charts)
    return [names[at : at + size] for at in range(0, len(names), size)]


def _chart(rows: Rows) -> Chart:
    lines = [
        Series(
            name,
            (
                Point(0.0, row[0].clean.fraction),
                *(Point(one.severity, one.correct.fraction) for one in row),
            ),
            *look,
        )
        for (name, row), look in zip(rows.items(), LOOKS, strict=False)
    ]
    said = "; ".join(
        f"{line.label}: from {percent(line.points[0].y)} to {percent(line.points[-1].y)}"
        for line in lines
    )
    last = max(point.x for line in lines for point in line.points)
    title = listed(list(rows))
    return line_chart(
        f"{title[:1].upper()}{title[1:]}",
        f"{said}.",
        lines,
        axis(0.0, last, "severity", least=1.0),
        axis(0.0, 1.0, "accuracy", in_percent),
    )


def _table(rows: Rows) -> Table:
    severities = _severities(rows)
    clean = next(iter(rows.values()))[0].clean
    cells = tuple(
        (Cell(name), *(_cell({one.severity: one for one in row}.get(at)) for at in severities))
        for name, row in rows.items()
    )
    return Table(
        "shifts-table",
        "Accuracy by corruption and severity",
        named("Corruption", *map(str, severities)),
        cells,
        f"Every share is of {whole(clean.n)} images, of which {clean} are right as they are.",
    )


def _amounts(rows: Rows) -> Table:
    severities = _severities(rows)
    cells = tuple(
        (
            Cell(name, row[0].unit),
            *(_amount({one.severity: one for one in row}.get(at)) for at in severities),
        )
        for name, row in rows.items()
    )
    return Table(
        "shifts-amounts",
        "What the severities are",
        named("Corruption", *map(str, severities)),
        cells,
        "Even steps of Tempering's own; accuracies cannot be set beside those of other benchmarks.",
    )


def _severities(rows: Rows) -> list[int]:
    return sorted({one.severity for row in rows.values() for one in row})


def _amount(one: Shift | None) -> Cell:
    return ABSENT if one is None else Cell(f"{one.amount:g}")


def _cell(one: Shift | None) -> Cell:
    if one is None:
        return ABSENT
    return Cell(percent(one.correct.fraction), bracket(one.correct.interval))
