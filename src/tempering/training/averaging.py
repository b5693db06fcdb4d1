"""Averages of the weights over training, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from tempering.core.errors import UsageError


class Averaging(Protocol):
    """How the average of the weights follows them."""

    def keeps(self, step: int, steps: int) -> float:
        """The share of itself that the average keeps; it takes the rest from the weights.

        Args:
            step: Steps done, this one included.
            steps: Steps of the whole training.
        """
        ...


@dataclass(frozen=True)
class EMA:
    """Exponential moving average of the weights, with a shorter memory at the beginning.

    Attributes:
        decay: Share that the average keeps at a step; 0 for no averaging.

    Raises:
        UsageError: If the decay is no share.
    """

    decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise UsageError(f"ema: decay = {self.decay:g}: give a number in [0, 1)")

    def keeps(self, step: int, steps: int) -> float:  # noqa: ARG002
        """The decay, at first less."""
        return min(self.decay, (1 + step) / (10 + step))


@dataclass(frozen=True)
class SWA:
    """Stochastic weight averaging: the mean of the weights from some step on.

    Izmailov et al., 'Averaging weights leads to wider optima and better generalization', 2018.
    Until `start` the average is the weights themselves.

    Attributes:
        start: Share of the training after which weights are averaged.
        every: Steps between weights that are averaged.

    Raises:
        UsageError: If a value makes no sense.

    Example:
        >>> [round(SWA(0.5).keeps(step, 10), 3) for step in (4, 5, 6, 7)]
        [0.0, 0.0, 0.5, 0.667]
    """

    start: float = 0.5
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise UsageError(f"swa: start = {self.start:g}: give a number in [0, 1)")
        if not (isinstance(self.every, int) and self.every >= 1):
            raise UsageError(f"swa: every = {self.every}: give a whole number of at least 1")

    def keeps(self, step: int, steps: int) -> float:
        """N / (n + 1) after n averaged weights; 1 between them."""
        since = step - math.ceil(self.start * steps)
        if since < 0:
            return 0.0
        if since % self.every:
            return 1.0
        count = since // self.every
        return count / (count + 1)
