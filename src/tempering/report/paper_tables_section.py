"""Section of the page of a benchmark: the paper's comparison of systems, with figures."""

from __future__ import annotations

from tempering.core.record import Count
from tempering.core.system_records import SystemRow, SystemTable
from tempering.report.section import Section, tabled
from tempering.report.shade import FAIR, GOOD, tone_of
from tempering.report.tables import ABSENT, Cell, Table, named, worded
from tempering.report.wording import counted, percent, slowdown

TABLE_V = {
    "paper": ("iterative adversarial retraining", 0.991),
    "single-pass": ("adversarial training technique", 0.985),
    "aedpl-dl": ("AEDPL-DL", 0.9862),
    "ours": ("iterative adversarial retraining, hardened default", None),
}
"""System -> its name in Table V of the paper, and the clean accuracy that it claims."""


def paper_tables_section(table: SystemTable) -> Section | None:
    """Tables I and V of the paper, measured; None if no system was."""
    rows = [row for row in table.rows if row.error is None]
    if not rows:
        return None
    return Section(
        "paper-tables",
        "The paper's Tables I and V, measured",
        (),
        tabled((_table_one(rows), _table_five(rows))),
    )


def _table_one(rows: list[SystemRow]) -> Table:
    return Table(
        "table-one",
        "Table I: what each system does",
        worded(
            "system",
            "withstands an oblivious attacker",
            "withstands an adaptive one",
            "abstains",
            "overhead",
        ),
        tuple(
            (
                Cell(row.title),
                _verdict(row.oblivious),
                _verdict(row.adaptive),
                _abstains(row),
                ABSENT if row.overhead is None else Cell(slowdown(row.overhead)),
            )
            for row in rows
        ),
        note=(
            f"Yes: at least {percent(GOOD, 0)} of test images; partly: at least {percent(FAIR, 0)}."
        ),
    )


def _verdict(count: Count | None) -> Cell:
    if count is None:
        return ABSENT
    share = count.fraction
    tone = tone_of(share)
    word = {"good": "yes", "fair": "partly"}.get(tone, "no")
    return Cell(word, percent(share), tone)


def _abstains(row: SystemRow) -> Cell:
    if row.abstained is None:
        return Cell("no")
    return Cell("yes", f"on {percent(row.abstained.fraction)} of clean images")


def _table_five(rows: list[SystemRow]) -> Table:
    return Table(
        "table-five",
        "Table V: clean accuracy, claimed and measured",
        named("system", "claimed", "measured", "claim within the interval"),
        tuple(_claim(row, *TABLE_V[row.system]) for row in rows if row.system in TABLE_V),
        note=(
            "Claims here are of accuracy without attack; the table of systems has each system's "
            "claim of robustness. Intervals are 95 % Wilson intervals. A clean image on which a "
            "system abstains counts as wrong. Trainings are those of this table's budget."
        ),
    )


def _claim(row: SystemRow, name: str, claimed: float | None) -> tuple[Cell, ...]:
    first = (Cell(name, row.title), ABSENT if claimed is None else Cell(percent(claimed, 2)))
    if row.clean is None or claimed is None:
        return (*first, counted(row.clean), ABSENT)
    low, high = row.clean.interval
    if claimed > high:
        return (*first, counted(row.clean), Cell("no, below the claim", tone="bad"))
    return (*first, counted(row.clean), Cell("yes" if low <= claimed else "no, above", tone="good"))
