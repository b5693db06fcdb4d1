"""What a gray-box attacker runs on a model of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tempering.attacks.base import Attack
from tempering.attacks.early_stopping import without_early_stopping
from tempering.attacks.restarts import Restarts
from tempering.core.random import RandomStreams


@dataclass(frozen=True)
class Attempt:
    """One run of an attack.

    Attributes:
        attack: What runs.
        restarts: Which restart this is, outermost first; empty for the only one.
    """

    attack: Attack
    restarts: tuple[int, ...] = ()

    def streams(self, streams: RandomStreams) -> RandomStreams:
        """The streams that the attack itself would give this restart."""
        for time in filter(None, self.restarts):
            streams = streams.derive("restart", time)
        return streams


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
        return [Attempt(without_early_stopping(attack))]
    return [
        replace(inner, restarts=(time, *inner.restarts))
        for time in range(attack.times)
        for inner in attempts(attack.attack)
    ]
