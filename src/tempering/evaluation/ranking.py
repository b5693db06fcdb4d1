"""The order of attacks, learned on a few samples from what each breaks for its passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RankingTrial:
    """What one attack did on the first samples, all attacks on the same ones.

    Attributes:
        name: Of the attack; several may have the same.
        broken: Samples that it broke, shape (m,), bool.
        passes: What that took in all, forward and backward.
    """

    name: str
    broken: Tensor
    passes: int


@dataclass(frozen=True)
class RankedAttack:
    """An attack's place in a schedule.

    Attributes:
        trial: The attack's trial.
        broke: Samples that it broke and none before it did.
        passes: Passes a sample.
    """

    trial: RankingTrial
    broke: int
    passes: float

    def __str__(self) -> str:
        return f"{self.trial.name}: {self.broke} broken, {self.passes:.0f} passes a sample"


def in_order(tried: Sequence[RankingTrial]) -> list[RankedAttack]:
    """Attacks by what they break for their passes, one after the other, of what is left.

    An attack that breaks nothing more is left out.

    Args:
        tried: What each attack did.

    Returns:
        The schedule.

    Example:
        >>> some = torch.tensor([True, True, False])
        >>> both = [RankingTrial("short", some, 30), RankingTrial("long", ~some | some, 900)]
        >>> [str(place) for place in in_order(both)]
        ['short: 2 broken, 10 passes a sample', 'long: 1 broken, 300 passes a sample']
    """
    waiting, places = list(tried), list[RankedAttack]()
    if not waiting:
        return places
    left = torch.ones_like(waiting[0].broken)

    def gain(trial: RankingTrial) -> int:
        return int((trial.broken & left).sum())

    while waiting:
        best = max(waiting, key=lambda trial: gain(trial) / max(trial.passes, 1))
        if not gain(best):
            break
        places.append(RankedAttack(best, gain(best), best.passes / max(len(best.broken), 1)))
        left = left & ~best.broken
        waiting.remove(best)
    return places
