"""Select the records that a table or figure is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

from tempering.core.records import NO_ATTACKS as NO_ATTACKS
from tempering.core.records import (
    Access,
    AnyRecord,
    Flag,
    Measurement,
    MinimumNorm,
    Provenance,
    Record,
    Subject,
)

R = TypeVar("R", bound=Record)

Protocol = Literal["standard", "paper", "curve", "cascade"]
Backward = Literal["adaptive", "true"]

FIRST, LAST = "clean", "worst"

MODELS: tuple[Subject, ...] = ("undefended", "single-pass", "given", "another-seed", "hardened")
BY_ATTACK: tuple[Access, ...] = ("white", "stale", "gray-surrogate", "gray-before")
"""Models and access levels in the order of columns."""


def of_kind(records: Sequence[AnyRecord], kind: type[R]) -> list[R]:
    """The records of one kind, in order."""
    return [record for record in records if isinstance(record, kind)]


def provenance(records: Sequence[AnyRecord]) -> Provenance | None:
    """The provenance of the run; the latest one if it was resumed."""
    records_found = of_kind(records, Provenance)
    return records_found[-1] if records_found else None


def flags(records: Sequence[AnyRecord]) -> list[Flag]:
    """Flags without repeats."""
    seen: list[Flag] = []
    for flag in of_kind(records, Flag):
        if flag not in seen:
            seen.append(flag)
    return seen


def measurements(records: Sequence[AnyRecord]) -> list[Measurement]:
    """Measurements on test data, or on validation data if there are no others."""
    measurements = of_kind(records, Measurement)
    return [row for row in measurements if row.split == "test"] or measurements


def subjects(records: Sequence[AnyRecord]) -> list[Subject]:
    """The measured models, in order of measurement."""
    return list(dict.fromkeys(row.subject for row in measurements(records)))


def main_subject(records: Sequence[AnyRecord]) -> Subject:
    """The model that a run is about."""
    present = subjects(records)
    for subject in ("hardened", "given", *present):
        if subject in present:
            return subject
    return "given"


def measured(
    records: Sequence[AnyRecord],
    protocol: Protocol,
    subject: Subject,
    access: Access = "white",
    backward: Backward = "adaptive",
) -> dict[str, Measurement]:
    """Measurements by attack: clean first, the worst case last."""
    by_attack = {
        row.attack: row
        for row in measurements(records)
        if row.protocol == protocol
        and row.subject == subject
        and row.access == access
        and row.backward == backward
    }
    return {name: by_attack[name] for name in in_order(list(by_attack))}


def attacked(records: Sequence[AnyRecord]) -> list[Measurement | MinimumNorm]:
    """Measurements with a bounded or a minimum-norm attack."""
    return [*of_kind(records, Measurement), *of_kind(records, MinimumNorm)]


def views(
    records: Sequence[AnyRecord], protocol: Protocol
) -> dict[tuple[Subject, Access], dict[str, Measurement]]:
    """Measurements by model and access, then by attack; white-box first."""
    by_view = {
        (subject, access): measured(records, protocol, subject, access)
        for access in BY_ATTACK
        for subject in MODELS
    }
    return {view: by_attack for view, by_attack in by_view.items() if attacks_only(by_attack)}


def swept(records: Sequence[AnyRecord], subject: Subject) -> list[Measurement]:
    """The measurements of a curve by increasing eps; the worst case if there is one."""
    curve = [
        row for row in measurements(records) if row.protocol == "curve" and row.subject == subject
    ]
    names = in_order([row.attack for row in curve if row.attack != FIRST])
    if not names:
        return []
    rows = [row for row in curve if row.attack == names[-1] and row.access == curve[0].access]
    return sorted(rows, key=lambda row: row.eps)


def family(measurement: Measurement) -> str:
    """The attack family of a measurement, such as `pgd` for `pgd-40x2`."""
    name = str(measurement.config.get("name") or measurement.attack)
    return name.partition("-")[0]


def in_order(names: Sequence[str]) -> list[str]:
    """Names without repeats: clean first, then in the given order, the worst case last."""
    place = {FIRST: -1, LAST: 1}
    return sorted(dict.fromkeys(names), key=lambda name: place.get(name, 0))


def attacks_only(by_attack: dict[str, Measurement]) -> dict[str, Measurement]:
    """Measurements without clean accuracy, worst case and forced flags."""
    return {name: row for name, row in by_attack.items() if name not in NO_ATTACKS}


def class_name(classes: Sequence[str], number: int) -> str:
    """Name of an output; the one after the classes is the adversarial class."""
    if 0 <= number < len(classes):
        return classes[number]
    if classes and number == len(classes):
        return "adversarial"
    return f"class {number}"
