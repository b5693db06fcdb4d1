"""What a gray-box attacker runs on another model than the one that is judged."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from tempering.attacks.base import Attack
from tempering.attacks.restarts import Restarts
from tempering.core.random import Draws


@dataclass(frozen=True)
class Attempt:
    """One run of an attack.

    Attributes:
        attack: What runs.
        restarts: Which restart this is, outermost first; empty for the only one.
    """

    attack: Attack
    restarts: tuple[int, ...] = ()

    def draws(self, draws: Draws) -> Draws:
        """The streams that the attack itself would give this restart."""
        for time in filter(None, self.restarts):
            draws = draws.to("restart", time)
        return draws


def at_full_strength(attack: Attack) -> Attack:
    """An attack that climbs to the end, also where it has long fooled its own model.

    A sample that only just fools the model it was made on seldom fools another.

    Example:
        >>> from tempering.attacks import PGD
        >>> at_full_strength(PGD(steps=5)).until_fooled
        False
    """
    if isinstance(attack, Restarts):
        return replace(attack, attack=at_full_strength(attack.attack))
    if any(field.name == "until_fooled" for field in fields(attack)):
        return replace(attack, until_fooled=False)  # type: ignore[call-arg]
    return attack


def attempts(attack: Attack) -> list[Attempt]:
    """Everything that a transfer attack tries on the target, at full strength.

    Restarts are unfolded: the model that samples are made on cannot tell which of them
    fools the target, so each is tried there and the worst is kept.

    Example:
        >>> from tempering.attacks import PGD, Restarts
        >>> [attempt.restarts for attempt in attempts(Restarts(PGD(), 2))]
        [(0,), (1,)]
    """
    if not isinstance(attack, Restarts):
        return [Attempt(at_full_strength(attack))]
    return [
        replace(inner, restarts=(time, *inner.restarts))
        for time in range(attack.times)
        for inner in attempts(attack.attack)
    ]
