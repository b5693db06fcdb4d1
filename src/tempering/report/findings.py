"""The paper's tables: its figure beside ours, with a verdict."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tempering.core.records import AnyRecord, Finding
from tempering.report import choosing
from tempering.report.bars import Bar, Group, bar_chart
from tempering.report.paper_figures import TABLES
from tempering.report.section import Figure, Section, Tabled
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Column, Table, Tone
from tempering.report.wording import bracket, percent, radius

ATTACK_TABLES = {"II": "figure-4", "III": "figure-5"}
"""Tables that the paper also draws -> the file of the drawing."""

_HEADS = (
    Column("Row", numeric=False),
    Column("Column", numeric=False),
    Column("Paper"),
    Column("Ours", detail="95 % interval"),
    Column("eps"),
    Column("Verdict", numeric=False),
)


def by_table(records: Sequence[AnyRecord]) -> dict[str, list[Finding]]:
    """Findings by the number of the paper's table, such as `II`."""
    found: dict[str, list[Finding]] = {}
    for finding in choosing.of_kind(records, Finding):
        found.setdefault(_number(finding), []).append(finding)
    return {number: found[number] for number in sorted(found, key=_place)}


def _number(finding: Finding) -> str:
    return finding.table.removeprefix("Table ").strip()


def _slug(number: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", number)


def _place(number: str) -> tuple[int, str]:
    order = list(TABLES)
    return (order.index(number) if number in order else len(order), number)


def findings(records: Sequence[AnyRecord]) -> Section | None:
    """All of the paper's tables that were reproduced."""
    blocks: list[Tabled | Figure] = []
    for number, found in by_table(records).items():
        blocks.append(Tabled(finding_table(number, found)))
        if number in ATTACK_TABLES:
            caption = f"The paper's Table {number} beside ours; pale bars are the paper's."
            blocks.append(Figure(f"paper-{_slug(number)}", caption, (finding_bars(number, found),)))
    if not blocks:
        return None
    prose = "Each line sets the paper's figure beside ours and says whether it holds."
    return Section("findings", "The paper's tables", (prose,), tuple(blocks))


def finding_table(number: str, found: Sequence[Finding]) -> Table:
    """One of the paper's tables."""
    rows = tuple(
        (
            Cell(one.row),
            Cell(one.column),
            ABSENT if one.paper is None else Cell(value(one, one.paper)),
            _ours(one),
            ABSENT if one.eps is None else Cell(radius(one.eps)),
            Cell(one.verdict, tone=_tone(one.verdict)),
        )
        for one in found
    )
    caption = f"The paper's Table {number}: {TABLES.get(number, 'reproduced')}"
    return Table(f"paper-table-{_slug(number)}", caption, _HEADS, rows)


def finding_bars(number: str, found: Sequence[Finding]) -> Chart:
    """One of the paper's attack tables as bars, the paper's pale."""
    groups: dict[str, list[Bar]] = {}
    for one in found:
        mark = "before" if "before" in one.column.lower() else "after"
        groups.setdefault(one.row, []).extend(
            [
                Bar(f"paper, {one.column}", one.paper, None, mark, faded=True),
                Bar(f"ours, {one.column}", one.ours, one.interval, mark),
            ]
        )
    said = "; ".join(
        f"{one.row}, {one.column}: "
        f"paper {'no figure' if one.paper is None else value(one, one.paper)}, "
        f"ours {'not measured' if one.ours is None else value(one, one.ours)}"
        for one in found
    )
    drawn = [Group(row, tuple(bars)) for row, bars in groups.items()]
    return bar_chart(TABLES.get(number, f"Table {number}"), said + ".", drawn)


def value(finding: Finding, figure: float) -> str:
    """A figure as the paper writes its kind: rho as a fraction, everything else in percent."""
    return f"{figure:.2f}" if is_rho(finding) else percent(figure)


def is_rho(finding: Finding) -> bool:
    """Whether a finding is about the robustness score."""
    words = f"{finding.row} {finding.column}".lower()
    return "rho" in words or "ρ" in words


def _ours(finding: Finding) -> Cell:
    if finding.ours is None:
        return ABSENT
    if finding.interval is None:
        return Cell(value(finding, finding.ours))
    low, high = finding.interval
    spread = f"[{low:.2f}, {high:.2f}]" if is_rho(finding) else bracket(finding.interval)
    return Cell(value(finding, finding.ours), spread)


def _tone(verdict: str) -> Tone:
    said = verdict.lower()
    if said.startswith("holds only"):
        return "fair"
    if said.startswith("holds"):
        return "good"
    return "bad" if said.startswith("does not") else ""
