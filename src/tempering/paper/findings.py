"""The paper's tables with our measurements and a verdict on each number."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tempering.core.records import AnyRecord, Finding
from tempering.paper.reported import TABLES
from tempering.report import selection
from tempering.report.bar_chart import Bar, BarGroup, bar_chart
from tempering.report.reading import Run
from tempering.report.section import Figure, Section, TableBlock
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Column, Table, Tone
from tempering.report.wording import bracket, percent, radius

ATTACK_TABLES = {"II": "figure-4", "III": "figure-5"}
"""Tables that the paper also shows as a figure -> file name of the figure."""

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
    tables: dict[str, list[Finding]] = {}
    for finding in selection.of_kind(records, Finding):
        tables.setdefault(_number(finding), []).append(finding)
    return {number: tables[number] for number in sorted(tables, key=_place)}


def _number(finding: Finding) -> str:
    return finding.table.removeprefix("Table ").strip()


def _slug(number: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", number)


def _place(number: str) -> tuple[int, str]:
    order = list(TABLES)
    return (order.index(number) if number in order else len(order), number)


def findings_section(run: Run) -> Section | None:
    """All tables of the paper that were reproduced."""
    blocks: list[TableBlock | Figure] = []
    for number, findings in by_table(run.records).items():
        blocks.append(TableBlock(finding_table(number, findings)))
        if number in ATTACK_TABLES:
            caption = f"Table {number}: our measurements, and the paper's as pale bars."
            blocks.append(
                Figure(f"paper-{_slug(number)}", caption, (finding_bars(number, findings),))
            )
    if not blocks:
        return None
    prose = "Each row compares a number of the paper with our measurement."
    return Section("findings", "The paper's tables", (prose,), tuple(blocks))


def finding_table(number: str, findings: Sequence[Finding]) -> Table:
    """One of the paper's tables."""
    rows = tuple(
        (
            Cell(finding.row),
            Cell(finding.column),
            ABSENT if finding.paper is None else Cell(value(finding, finding.paper)),
            _ours(finding),
            ABSENT if finding.eps is None else Cell(radius(finding.eps)),
            Cell(finding.verdict, tone=_tone(finding.verdict)),
        )
        for finding in findings
    )
    caption = f"The paper's Table {number}: {TABLES.get(number, 'reproduced')}"
    return Table(f"paper-table-{_slug(number)}", caption, _HEADS, rows)


def finding_bars(number: str, findings: Sequence[Finding]) -> Chart:
    """One of the paper's attack tables as bars; those of the paper are pale."""
    groups: dict[str, list[Bar]] = {}
    for finding in findings:
        mark = "before" if "before" in finding.column.lower() else "after"
        groups.setdefault(finding.row, []).extend(
            [
                Bar(f"paper, {finding.column}", finding.paper, None, mark, faded=True),
                Bar(f"ours, {finding.column}", finding.ours, finding.interval, mark),
            ]
        )
    description = "; ".join(
        f"{finding.row}, {finding.column}: "
        f"paper {'no figure' if finding.paper is None else value(finding, finding.paper)}, "
        f"ours {'not measured' if finding.ours is None else value(finding, finding.ours)}"
        for finding in findings
    )
    drawn = [BarGroup(row, tuple(bars)) for row, bars in groups.items()]
    return bar_chart(TABLES.get(number, f"Table {number}"), description + ".", drawn)


def value(finding: Finding, figure: float) -> str:
    """A number in the paper's format: rho as a fraction, everything else in percent."""
    return f"{figure:.2f}" if is_rho(finding) else percent(figure)


def is_rho(finding: Finding) -> bool:
    """Whether a finding is about the robustness score rho."""
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
    text = verdict.lower()
    if text.startswith("holds only"):
        return "fair"
    if text.startswith("holds"):
        return "good"
    return "bad" if text.startswith("does not") else ""
