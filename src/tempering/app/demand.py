"""What an evaluation is asked to do, and the cascades that this takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.records import Access, Flag, Passes, StageResult
from tempering.core.threats import Threat
from tempering.evaluation.cascade import Cascaded, Stage
from tempering.evaluation.protocols import attacks_of, queried, transferred
from tempering.evaluation.results import AttackResult

ACCESSES = ("white", "gray", "black", "all")
"""What attackers may be allowed to know."""
GRAY: Access = "gray-surrogate"


@dataclass(frozen=True)
class Demand:
    """What an evaluation is asked to do.

    Attributes:
        threat: What may change.
        attacks: Each on all samples; None for a protocol's cascade.
        protocol: Which attacks a cascade has.
        access: `white`, `gray`, `black` or `all`.
        surrogate: A model that a gray-box attacker owns; None to train one.
        samples: Test images, the first ones; None for 1,000, or all if there are fewer.
        seconds: How long it may take; None for no limit.
        seed: Of all draws.
    """

    threat: Threat
    attacks: Sequence[Attack] | None = None
    protocol: str = "fast"
    access: str = "white"
    surrogate: nn.Module | None = None
    samples: int | None = None
    seconds: float | None = None
    seed: int = 0


def cascades_of(demand: Demand) -> dict[Access, list[Stage]]:
    """The stages of each kind of attacker that is asked for; none where attacks are given.

    Raises:
        UsageError: If there is no such access, no attack of it that knows the threat (what
            nothing was tried on would stand whole), or attacks are given for another than white.
    """
    if demand.access not in ACCESSES:
        raise UsageError(f"access {demand.access!r}: give one of {', '.join(ACCESSES)}")
    if demand.attacks:
        if demand.access != "white":
            raise UsageError(
                f"access {demand.access!r} with attacks of your own, which know the model: "
                "leave the attacks out, or give --access white"
            )
        return {}
    white = attacks_of(demand.protocol, demand.threat)
    wanted = ("white", "gray", "black") if demand.access == "all" else (demand.access,)
    plans: dict[Access, list[Stage]] = {}
    for kind in wanted:
        if kind == "white":
            plans["white"] = [Stage(attack) for attack in white]
        elif kind == "gray":
            plans[GRAY] = [Stage(attack, GRAY) for attack in transferred(demand.threat)]
        else:
            plans["black"] = [
                Stage(attack, "black") for attack in queried(demand.protocol, demand.threat)
            ]
    without = [kind.partition("-")[0] for kind, stages in plans.items() if not stages]
    if without:
        raise UsageError(
            f"access {demand.access!r}: no {' or '.join(without)}-box attack knows "
            f"{demand.threat.name}: give --access white, or a threat in linf, l2 or l1"
        )
    return plans


def out_of_time(found: Cascaded) -> Flag:
    """Stages that the time did not suffice for."""
    left = ", ".join(f"{name}: {count}" for name, count in found.unfinished.items())
    return Flag(
        name="out of time",
        meaning="samples that stand have not met every attack of the protocol, so the accuracy "
        "is too high",
        remedy="give more time, or fewer samples",
        evidence=f"samples that a stage left out: {left}",
    )


def stage_result(survivors: int, result: AttackResult) -> StageResult:
    """What stands after a stage, and what it took."""
    cost = result.measurement.cost
    return StageResult(
        survivors=survivors,
        passes=Passes(forward=cost.forward, backward=cost.backward),
        seconds=cost.seconds,
    )


def named(result: AttackResult) -> str:
    """A stage in the record: its attack, and what it knew unless that was everything."""
    one = result.measurement
    known = {"white": "", GRAY: " (gray-box)"}.get(one.access, f" ({one.access}-box)")
    return f"{one.attack}{known}"


def unused(name: str, names: Iterable[str]) -> str:
    """A name that is not among names: the second of the same name is numbered."""
    taken = set(names)
    number = 2
    fresh = name
    while fresh in taken:
        fresh, number = f"{name} #{number}", number + 1
    return fresh
