"""The robustness score rho (eq. 6) and stability."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import AnyRecord, Measurement
from tempering.report import choosing
from tempering.report.reading import Run
from tempering.report.section import Section, tabled
from tempering.report.tables import ABSENT, Cell, Column, Table, named
from tempering.report.wording import BRIEF, attack, counted, percent

STABILITY = {
    "unchanged": "predictions that no attack changed",
    "drop": "mean of the largest fall of the true class's probability",
}
"""Entries of a summary in words."""


def scores(run: Run) -> Section | None:
    """How much hardening gained, and how calm predictions stay under attack."""
    tables = [_rho(run.records), _stability(run.records), _summed(run)]
    if not any(tables):
        return None
    prose = [
        "Robustness rho is accuracy after hardening minus accuracy before, in fractions (eq. 6): "
        "it measures a gain, not a level."
        if tables[0]
        else "",
        "Stability is the share of predictions, right or wrong, that no attack changed, and how "
        "far the probability of the true class fell.",
    ]
    return Section("scores", "Robustness score and stability", tuple(prose), tabled(tables))


def _rho(records: Sequence[AnyRecord]) -> Table | None:
    gains: dict[str, list[Cell]] = {}
    protocols: tuple[choosing.Protocol, ...] = ("standard", "paper")
    for place, protocol in enumerate(protocols):
        before = choosing.measured(records, protocol, "undefended")
        after = choosing.measured(records, protocol, "hardened")
        for name in [name for name in after if name in before and name != "availability"]:
            gain = after[name].robust.fraction - before[name].robust.fraction
            gains.setdefault(name, [ABSENT, ABSENT])[place] = Cell(
                f"{gain:+.3f}",
                f"{percent(before[name].robust.fraction)} to "
                f"{percent(after[name].robust.fraction)}",
            )
    names = choosing.in_order(list(gains))
    if not names:
        return None
    return Table(
        "rho",
        "Robustness rho, white-box",
        named("Attack", "Threat's eps", "Paper's eps"),
        tuple((Cell(attack(name)), *gains[name]) for name in names),
        foot=int(choosing.LAST in names),
    )


def _stability(records: Sequence[AnyRecord]) -> Table | None:
    found = {
        subject: choosing.measured(records, "standard", subject) for subject in choosing.MODELS
    }
    found = {subject: by_attack for subject, by_attack in found.items() if by_attack}
    names = choosing.in_order([name for by_attack in found.values() for name in by_attack])
    names = [name for name in names if name not in (choosing.FIRST, "availability")]
    if not names:
        return None
    columns = [Column("Attack", numeric=False)]
    for subject in found:
        columns.append(Column(BRIEF[subject].capitalize(), detail="unchanged"))
        columns.append(Column(BRIEF[subject].capitalize(), detail="mean fall"))
    rows = [
        (
            Cell(attack(name)),
            *(cell for by_attack in found.values() for cell in _calm(by_attack.get(name))),
        )
        for name in names
    ]
    return Table(
        "stability",
        "Predictions that the attack did not change, and the fall of the true class's probability",
        tuple(columns),
        tuple(rows),
        foot=int(choosing.LAST in names),
    )


def _calm(measurement: Measurement | None) -> tuple[Cell, Cell]:
    if measurement is None:
        return ABSENT, ABSENT
    return counted(measurement.stable), Cell(f"{measurement.drop:.3f}")


def _summed(run: Run) -> Table | None:
    rows = tuple(
        (Cell(STABILITY.get(name, name.replace("_", " "))), Cell(f"{value:.3f}"))
        for name, value in run.summary.stability.items()
    )
    if not rows:
        return None
    return Table("stability-summary", "Stability over the whole run", named("What", "Value"), rows)
