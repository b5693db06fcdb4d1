"""Learning-rate schedules as values: from a step's number to a factor on the peak rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

from tempering.core.errors import UsageError


class Schedule(Protocol):
    """What the learning rate is multiplied by."""

    def __call__(self, step: int, steps: int) -> float:
        """The factor at a step.

        Args:
            step: Steps done before this one.
            steps: Steps of the whole training.
        """
        ...


@dataclass(frozen=True)
class Constant:
    """The peak rate throughout."""

    def __call__(self, step: int, steps: int) -> float:  # noqa: ARG002
        """1."""
        return 1.0


@dataclass(frozen=True)
class Linear:
    """Linearly down to 0 at the last step."""

    def __call__(self, step: int, steps: int) -> float:
        """1 - step / steps."""
        return 1.0 - step / steps


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave down to 0 at the last step (Loshchilov and Hutter, 2017)."""

    def __call__(self, step: int, steps: int) -> float:
        """(1 + cos(pi step / steps)) / 2."""
        return (1 + math.cos(math.pi * step / steps)) / 2


@dataclass(frozen=True)
class Piecewise:
    """Multiplied by `factor` at each milestone.

    Attributes:
        milestones: Shares of the training, increasing, in (0, 1).
        factor: What the rate is multiplied by at each.

    Raises:
        UsageError: If a milestone or the factor makes no sense.

    Example:
        >>> Piecewise((0.5,), 0.1)(60, 100)
        0.1
    """

    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        shares = self.milestones
        if not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
            raise UsageError(
                f"piecewise: milestones = {list(shares)}: give increasing shares between 0 and 1"
            )
        if not 0 < self.factor <= 1:
            raise UsageError(f"piecewise: factor = {self.factor:g}: give a number above 0, up to 1")

    def __call__(self, step: int, steps: int) -> float:
        """Factor ** (milestones passed)."""
        return self.factor ** sum(step >= int(share * steps) for share in self.milestones)


@dataclass(frozen=True)
class Warmup:
    """Linearly up over the first steps, then another schedule.

    Attributes:
        steps: Steps of the warm-up.
        then: The schedule, which counts from the first step on.
    """

    steps: int
    then: Schedule = field(default_factory=Constant)

    def __call__(self, step: int, steps: int) -> float:
        """The product of both factors."""
        return min(1.0, (step + 1) / max(1, self.steps)) * self.then(step, steps)


SCHEDULES: dict[str, Schedule] = {
    "constant": Constant(),
    "linear": Linear(),
    "cosine": Cosine(),
    "piecewise": Piecewise(),
}
"""Name in a recipe -> schedule."""
