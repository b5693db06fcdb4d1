"""The cascade: what stood after each attack, and what that took."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import Access, AnyRecord, Measurement
from tempering.report import choosing
from tempering.report.section import Section, tabled
from tempering.report.tables import Cell, Table, named
from tempering.report.wording import ACCESSES, attack, bracket, duration, percent, whole

PROSE = (
    "Each attack worked only on images that were right, unproven and not yet broken when it began; "
    "proofs come first. The last figure of each kind of access is what withstood it."
)


def cascades(records: Sequence[AnyRecord]) -> Section | None:
    """One table a kind of access."""
    measured = [one for one in choosing.judged(records) if one.protocol == "cascade"]
    accesses = list(dict.fromkeys(one.access for one in measured))
    clean = choosing.measured(records, "standard", choosing.main_subject(records)).get(
        choosing.FIRST
    )
    tables = [
        _table(access, [one for one in measured if one.access == access], clean)
        for access in accesses
    ]
    blocks = tabled(tables)
    return Section("cascade", "Cascade", (PROSE,), blocks) if blocks else None


def _table(access: Access, stages: Sequence[Measurement], clean: Measurement | None) -> Table:
    rows = [] if clean is None else [_row(clean, None)]
    before = clean
    for stage in stages:
        rows.append(_row(stage, before))
        before = stage
    return Table(
        f"cascade-{access}",
        f"{ACCESSES[access].capitalize()}: images that stand after each attack",
        named("Attack", "Stand", "Broke", "Forward", "Backward", "Time"),
        tuple(rows),
        "Forward and backward are passes of single images, a verdict's among them.",
    )


def _row(stage: Measurement, before: Measurement | None) -> tuple[Cell, ...]:
    broke = "" if before is None else whole(before.strict.hits - stage.strict.hits)
    count = stage.strict
    return (
        Cell(attack(stage.attack)),
        Cell(percent(count.fraction), f"{count.hits} of {count.n} {bracket(count.interval)}"),
        Cell(broke),
        Cell(whole(stage.cost.forward)),
        Cell(whole(stage.cost.backward)),
        Cell(duration(stage.cost.seconds)),
    )
