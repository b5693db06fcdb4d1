"""Section of a report: the four counts of a model with an adversarial class."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import Abstaining, AnyRecord, Measurement, Subject
from tempering.report import selection
from tempering.report.section import Section, tabled
from tempering.report.tables import Cell, Table, named
from tempering.report.wording import attack, counted


def detection_section(records: Sequence[AnyRecord]) -> Section | None:
    """Accuracy with and without detection; None if the model has no adversarial class."""
    subject = selection.main_subject(records)
    by_attack = selection.measured(records, "standard", subject)
    if not any(_has_detection(row) for row in by_attack.values()):
        return None
    prose = (
        f"{_flagged_by(records, subject)} A flagged image counts as an error in the clean and in "
        "the robust accuracy, which are so comparable with other work. The attack against "
        "detection must evade the true class and the flag at the same time."
    )
    return Section(
        "detection",
        "Adversarial class",
        (prose,),
        tabled([_counts_table(by_attack), _attack_table(by_attack)]),
    )


def _flagged_by(records: Sequence[AnyRecord], subject: Subject | None) -> str:
    """What flags an image, in a sentence."""
    own = [one for one in selection.of_kind(records, Abstaining) if one.subject == subject]
    if not own or not own[-1].detector:
        return "One output of the model is an adversarial class that flags the input."
    return (
        f"The detector {own[-1].detector} flags an image whose score is above "
        f"{own[-1].threshold:.4g}."
    )


def _has_detection(row: Measurement) -> bool:
    return row.detected is not None or row.flagged is not None


def _counts_table(by_attack: dict[str, Measurement]) -> Table:
    clean, worst = by_attack.get(selection.FIRST), by_attack.get(selection.LAST)
    forced = by_attack.get("availability")
    counts = [
        ("clean accuracy", "no attack, all outputs", clean.robust if clean else None),
        ("robust accuracy", "true class, worst case", worst.robust if worst else None),
        (
            "clean images flagged",
            "no attack; errors in the clean accuracy",
            clean.flagged if clean else None,
        ),
        (
            "robust with detection",
            "true class or flagged, worst case",
            worst.detected if worst else None,
        ),
        (
            "forced flags",
            "clean inputs changed so that they are flagged",
            forced.flagged if forced else None,
        ),
    ]
    rows = tuple((Cell(name, meaning), counted(count)) for name, meaning, count in counts)
    return Table("four", "Accuracy with and without detection", named("Count", "Share"), rows)


def _attack_table(by_attack: dict[str, Measurement]) -> Table:
    rows = tuple(
        (Cell(attack(name)), counted(row.robust), counted(row.detected), counted(row.flagged))
        for name, row in by_attack.items()
        if _has_detection(row) and name != "availability"
    )
    return Table(
        "flagged",
        "Robust, robust or flagged, and flagged by attack",
        named("Attack", "Robust", "Robust or flagged", "Flagged"),
        rows,
        foot=int(selection.LAST in by_attack),
    )
