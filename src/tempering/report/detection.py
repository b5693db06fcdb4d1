"""The four counts of a model with an adversarial class."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import AnyRecord, Measurement
from tempering.report import choosing
from tempering.report.section import Section, tabled
from tempering.report.tables import Cell, Table, named
from tempering.report.wording import SUBJECTS, attack, counted


def detection(records: Sequence[AnyRecord]) -> Section | None:
    """What the adversarial class is worth, or that there is none."""
    subject = choosing.main_subject(records)
    found = choosing.measured(records, "standard", subject)
    if not found:
        return None
    if not any(_flags(one) for one in found.values()):
        prose = (
            f"The {SUBJECTS[subject]} has no adversarial class: nothing is flagged, and the strict "
            "count above is the only one."
        )
        return Section("detection", "Adversarial class", (prose,))
    prose = (
        "One output means 'this input is adversarial'. So there are four counts. Only the strict "
        "one compares with other work; an attacker against detection evades digit and flag at once."
    )
    return Section(
        "detection",
        "Adversarial class",
        (prose,),
        tabled([_four(found), _by_attack(found)]),
    )


def _flags(measurement: Measurement) -> bool:
    return measurement.detected is not None or measurement.flagged is not None


def _four(found: dict[str, Measurement]) -> Table:
    clean, worst = found.get(choosing.FIRST), found.get(choosing.LAST)
    forced = found.get("availability")
    counts = [
        ("clean accuracy", "no attack, over all outputs", clean.robust if clean else None),
        ("strict robust", "stays on the true class, worst case", worst.robust if worst else None),
        (
            "robust with detection",
            "true class or flagged, worst case",
            worst.detected if worst else None,
        ),
        (
            "forced flags",
            "clean inputs that can be forced into the flag",
            forced.flagged if forced else None,
        ),
    ]
    rows = tuple((Cell(name, what), counted(count)) for name, what, count in counts)
    return Table("four", "The four counts", named("Count", "Share"), rows)


def _by_attack(found: dict[str, Measurement]) -> Table:
    rows = tuple(
        (Cell(attack(name)), counted(one.robust), counted(one.detected), counted(one.flagged))
        for name, one in found.items()
        if _flags(one) and name != "availability"
    )
    return Table(
        "flagged",
        "Strict, detected and flagged by attack",
        named("Attack", "Strict", "Strict or flagged", "Flagged"),
        rows,
        foot=int(choosing.LAST in found),
    )
