"""Section of a report: gain of robust accuracy, and stability."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import AnyRecord, Measurement
from tempering.report import selection
from tempering.report.reading import Run
from tempering.report.section import Section, tabled
from tempering.report.tables import ABSENT, Cell, Column, Table, named
from tempering.report.wording import BRIEF, attack, counted, percent

STABILITY = {
    "unchanged_by_all": "share of predictions that no attack changed",
    "mean_largest_drop": "mean over all images of the largest drop in the probability of the true "
    "class",
    "seed_spread": "difference of worst-case accuracy between two training seeds",
}
"""Entries of the summary in words."""
EARLIER = {"unchanged": "unchanged_by_all", "drop": "mean_largest_drop"}
"""What runs of earlier versions call them."""


def stability_section(run: Run) -> Section | None:
    """Gain by hardening, and how stable predictions are under attack."""
    tables = [_gain(run.records), _stability(run.records), _whole_run(run)]
    if not any(tables):
        return None
    prose = [
        "The gain is robust accuracy after hardening minus robust accuracy before, as a fraction. "
        "It says nothing about the level."
        if tables[0]
        else "",
        "Stability is the share of predictions, correct or wrong, that the attack did not change. "
        "Mean drop is the decrease of the probability of the true class, averaged over all images, "
        "whether the attack succeeded or not.",
    ]
    title = "Gain and stability" if tables[0] else "Stability under attack"
    return Section("scores", title, tuple(prose), tabled(tables))


def _gain(records: Sequence[AnyRecord]) -> Table | None:
    gains: dict[str, list[Cell]] = {}
    protocols: tuple[selection.Protocol, ...] = ("standard", "paper")
    for place, protocol in enumerate(protocols):
        before = selection.measured(records, protocol, "undefended")
        after = selection.measured(records, protocol, "hardened")
        for name in [name for name in after if name in before and name != "availability"]:
            gain = after[name].robust.fraction - before[name].robust.fraction
            gains.setdefault(name, [ABSENT, ABSENT])[place] = Cell(
                f"{gain:+.3f}",
                f"{percent(before[name].robust.fraction)} to "
                f"{percent(after[name].robust.fraction)}",
            )
    names = selection.in_order(list(gains))
    if not names:
        return None
    return Table(
        "gain",
        "Robust accuracy after minus before, white-box",
        named("Attack", "At the threat's eps", "At the paper's eps"),
        tuple((Cell(attack(name)), *gains[name]) for name in names),
        foot=int(selection.LAST in names),
    )


def _stability(records: Sequence[AnyRecord]) -> Table | None:
    measured = {
        subject: selection.measured(records, "standard", subject) for subject in selection.MODELS
    }
    measured = {subject: by_attack for subject, by_attack in measured.items() if by_attack}
    names = selection.in_order([name for by_attack in measured.values() for name in by_attack])
    names = [name for name in names if name not in (selection.FIRST, "availability")]
    if not names:
        return None
    columns = [Column("Attack", numeric=False)]
    for subject in measured:
        columns.append(Column(BRIEF[subject].capitalize(), detail="unchanged"))
        columns.append(Column(BRIEF[subject].capitalize(), detail="mean drop"))
    rows = [
        (
            Cell(attack(name)),
            *(cell for by_attack in measured.values() for cell in _cells(by_attack.get(name))),
        )
        for name in names
    ]
    return Table(
        "stability",
        "Predictions unchanged by the attack, and mean drop in the probability of the true class",
        tuple(columns),
        tuple(rows),
        "In the row of the worst case the mean is that of the largest drop of each image."
        if selection.LAST in names
        else "",
        int(selection.LAST in names),
    )


def _cells(measurement: Measurement | None) -> tuple[Cell, Cell]:
    if measurement is None:
        return ABSENT, ABSENT
    return counted(measurement.stable), Cell(f"{measurement.drop:.3f}")


def _whole_run(run: Run) -> Table | None:
    rows = tuple(
        (Cell(_in_words(name)), Cell(f"{value:.3f}"))
        for name, value in run.summary.stability.items()
    )
    if not rows:
        return None
    return Table("stability-summary", "Stability over all attacks", named("Measure", "Value"), rows)


def _in_words(name: str) -> str:
    name = EARLIER.get(name, name)
    return STABILITY.get(name, name.replace("_", " "))
