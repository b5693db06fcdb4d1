"""Picking records: every table and figure says here what it is about."""

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
"""Models and kinds of access in the order of columns."""


def of_kind(records: Sequence[AnyRecord], kind: type[R]) -> list[R]:
    """The records of one kind, in order."""
    return [record for record in records if isinstance(record, kind)]


def provenance(records: Sequence[AnyRecord]) -> Provenance | None:
    """What the run was made of; the last word, if it was resumed."""
    found = of_kind(records, Provenance)
    return found[-1] if found else None


def flags(records: Sequence[AnyRecord]) -> list[Flag]:
    """Flags, each once."""
    seen: list[Flag] = []
    for flag in of_kind(records, Flag):
        if flag not in seen:
            seen.append(flag)
    return seen


def judged(records: Sequence[AnyRecord]) -> list[Measurement]:
    """Measurements on test data; on validation data if there are no others."""
    everything = of_kind(records, Measurement)
    return [one for one in everything if one.split == "test"] or everything


def subjects(records: Sequence[AnyRecord]) -> list[Subject]:
    """The models that were measured, in the order in which they were."""
    return list(dict.fromkeys(one.subject for one in judged(records)))


def main_subject(records: Sequence[AnyRecord]) -> Subject:
    """The model that a run is about."""
    found = subjects(records)
    for subject in ("hardened", "given", *found):
        if subject in found:
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
    found = {
        one.attack: one
        for one in judged(records)
        if one.protocol == protocol
        and one.subject == subject
        and one.access == access
        and one.backward == backward
    }
    return {name: found[name] for name in in_order(list(found))}


def attacked(records: Sequence[AnyRecord]) -> list[Measurement | MinimumNorm]:
    """All that was measured by attacking, bounded or at its smallest."""
    return [*of_kind(records, Measurement), *of_kind(records, MinimumNorm)]


def views(
    records: Sequence[AnyRecord], protocol: Protocol
) -> dict[tuple[Subject, Access], dict[str, Measurement]]:
    """Measurements by model and access, then by attack; white-box comes first."""
    found = {
        (subject, access): measured(records, protocol, subject, access)
        for access in BY_ATTACK
        for subject in MODELS
    }
    return {view: by_attack for view, by_attack in found.items() if attacks_only(by_attack)}


def swept(records: Sequence[AnyRecord], subject: Subject) -> list[Measurement]:
    """The measurements of a sweep of eps, smallest first: the worst case if there is one."""
    found = [one for one in judged(records) if one.protocol == "curve" and one.subject == subject]
    names = in_order([one.attack for one in found if one.attack != FIRST])
    if not names:
        return []
    chosen = [one for one in found if one.attack == names[-1] and one.access == found[0].access]
    return sorted(chosen, key=lambda one: one.eps)


def family(measurement: Measurement) -> str:
    """Which of the paper's attacks a measurement belongs to, such as `pgd` for `pgd-40x2`."""
    name = str(measurement.config.get("name") or measurement.attack)
    return name.partition("-")[0]


def in_order(names: Sequence[str]) -> list[str]:
    """Names each once: clean first, then as given, the worst case last."""
    place = {FIRST: -1, LAST: 1}
    return sorted(dict.fromkeys(names), key=lambda name: place.get(name, 0))


def attacks_only(found: dict[str, Measurement]) -> dict[str, Measurement]:
    """Without clean accuracy, the worst case and forced flags."""
    return {name: one for name, one in found.items() if name not in NO_ATTACKS}


def class_name(classes: Sequence[str], number: int) -> str:
    """What an output is called; the one after the classes is the adversarial class."""
    if 0 <= number < len(classes):
        return classes[number]
    if classes and number == len(classes):
        return "adversarial"
    return f"class {number}"
