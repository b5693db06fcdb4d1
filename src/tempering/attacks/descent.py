"""Going down from an image by Adam, search after search, one state a sample.

Shared by the attacks of Carlini and Wagner: a search's step is cut where it gains nothing
any more, and the next search begins anew. The attack decides what is minimised, when a
search has ended and what the next one is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet
from tempering.attacks.adam import Adam


@dataclass
class Descent(ActiveSet):
    """Samples, each in a search of its own.

    Attributes:
        x: Images.
        x_adv: Where Adam is.
        first: Adam's first moment.
        second: Adam's second.
        step: Steps in this search.
        rate: Length of the next step.
        previous: What is minimised, at the last look back.
    """

    x: Tensor
    x_adv: Tensor
    first: Tensor
    second: Tensor
    step: Tensor
    rate: Tensor
    previous: Tensor

    @classmethod
    def at(cls, ids: Tensor, x: Tensor, rate: float, **more: Any) -> Self:
        """At the images, before the first search.

        Args:
            ids: Row numbers in the problem, shape (n,), int64.
            x: Images, shape (n, c, h, w).
            rate: Length of the first step.
            **more: The fields that an attack adds.
        """
        adam = Adam.start(x)
        return cls(
            ids=ids,
            x=x,
            x_adv=x.clone(),
            first=adam.first,
            second=adam.second,
            step=adam.step,
            rate=x.new_full((len(x),), rate),
            previous=x.new_full((len(x),), torch.inf),
            **more,
        )

    def move(self, gradient: Tensor) -> None:
        """One step down a gradient, shape of x_adv, kept in the box by projection."""
        down = Adam(self.first, self.second, self.step).descend(gradient, self.rate)
        self.x_adv = down.add_(self.x_adv).clamp_(0.0, 1.0)

    def stalled(self, due: Tensor, total: Tensor, least: float, cut: float) -> Tensor:
        """Look back where it is time, and shorten steps that gained too little.

        Args:
            due: Which rows look back, shape (n,), bool.
            total: What is minimised, shape (n,).
            least: Share of what it was at the last look that is left at a stall.
            cut: What a step shrinks to there.

        Returns:
            Which rows have stalled, shape (n,), bool.
        """
        stalled = due & (total >= least * self.previous)
        self.previous = torch.where(due, total, self.previous)
        self.rate = torch.where(stalled, cut * self.rate, self.rate)
        return stalled

    def anew(self, rows: Tensor, rate: float | Tensor) -> None:
        """Forget the search that some rows, shape (n,), bool, have ended; not where it led."""
        wide = rows[:, None, None, None]
        self.first = self.first.masked_fill(wide, 0.0)
        self.second = self.second.masked_fill(wide, 0.0)
        self.step = self.step.masked_fill(rows, 0)
        self.rate = torch.where(rows, rate, self.rate)
        self.previous = self.previous.masked_fill(rows, torch.inf)
