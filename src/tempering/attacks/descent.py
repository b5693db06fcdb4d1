"""Repeated minimization with Adam, which the attacks of Carlini and Wagner share.

The step size of a search is cut when progress stalls; the next search starts with a fresh
optimizer. The attack defines the objective and when a search ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet
from tempering.attacks.adam import PerSampleAdam
from tempering.core.threats import Threat


@dataclass
class Descent(ActiveSet):
    """The state of the samples, each in a search of its own.

    Attributes:
        x: Images.
        x_min: Lower bound of each pixel, shape of x.
        x_max: Upper bound of each pixel, shape of x.
        x_adv: Current points.
        first: Adam's first moment.
        second: Adam's second moment.
        step: Steps in this search.
        rate: Current step size.
        previous: Objective at the last check.
    """

    x: Tensor
    x_min: Tensor
    x_max: Tensor
    x_adv: Tensor
    first: Tensor
    second: Tensor
    step: Tensor
    rate: Tensor
    previous: Tensor

    @classmethod
    def at(cls, ids: Tensor, x: Tensor, threat: Threat, rate: float, **more: Any) -> Self:
        """The state before the first search, at the images.

        Args:
            ids: Row numbers in the problem, shape (n,), int64.
            x: Images, shape (n, c, h, w).
            threat: Gives the bounds of pixels.
            rate: First step size.
            **more: Fields that an attack adds.
        """
        adam = PerSampleAdam.start(x)
        low, high = (bound.expand_as(x) for bound in threat.bounds(x))
        return cls(
            ids=ids,
            x=x,
            x_min=low,
            x_max=high,
            x_adv=x.clone(),
            first=adam.first,
            second=adam.second,
            step=adam.step,
            rate=x.new_full((len(x),), rate),
            previous=x.new_full((len(x),), torch.inf),
            **more,
        )

    def move(self, gradient: Tensor) -> None:
        """One Adam step against a gradient, shape of x_adv, projected onto the bounds."""
        down = PerSampleAdam(self.first, self.second, self.step).descend(gradient, self.rate)
        self.x_adv = down.add_(self.x_adv).clamp_(self.x_min, self.x_max)

    def stalled(self, due: Tensor, total: Tensor, least: float, cut: float) -> Tensor:
        """Compare with the last check where one is due, and cut step sizes without progress.

        Args:
            due: Which rows are checked, shape (n,), bool.
            total: Objective, shape (n,).
            least: Smallest ratio to the objective at the last check that counts as a stall.
            cut: Factor of the step size at a stall.

        Returns:
            Which rows have stalled, shape (n,), bool.
        """
        stalled = due & (total >= least * self.previous)
        self.previous = torch.where(due, total, self.previous)
        self.rate = torch.where(stalled, cut * self.rate, self.rate)
        return stalled

    def reset(self, rows: Tensor, rate: float | Tensor) -> None:
        """Start a new search from the current points for some rows, shape (n,), bool."""
        wide = rows[:, None, None, None]
        self.first = self.first.masked_fill(wide, 0.0)
        self.second = self.second.masked_fill(wide, 0.0)
        self.step = self.step.masked_fill(rows, 0)
        self.rate = torch.where(rows, rate, self.rate)
        self.previous = self.previous.masked_fill(rows, torch.inf)
