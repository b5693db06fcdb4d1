"""Curricula of eps around any objective."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tempering.core.errors import UsageError
from tempering.training.objective import Batch, Losses, require_between
from tempering.training.wrapper import Wrapper

SHAPES = ("linear", "smooth", "cosine")


@dataclass(frozen=True)
class Curriculum(Wrapper):
    """The wrapped objective under an eps that grows along a curve.

    It takes the place of the wrapped objective's own ramp of eps; weights that move along that
    ramp, such as kappa of `interval`, keep it, so that the two curricula are apart. `smooth` is
    the quartic start that turns into a line of Xu et al., 'Automatic perturbation analysis for
    scalable certified robustness and beyond', 2020, appendix C; `linear` and `cosine` are as
    named.

    Attributes:
        inner: The objective that is wrapped.
        start: Share of the training after which eps grows; before it, it is `low`.
        end: Share of the training at which eps reaches the threat's.
        low: Share of eps at the start.
        shape: `linear`, `smooth` or `cosine`.

    Raises:
        UsageError: If a parameter makes no sense.

    Example:
        >>> [round(Curriculum(end=0.5).ramp(step, 100), 2) for step in (0, 25, 50)]
        [0.0, 0.5, 1.0]
    """

    name: ClassVar[str] = "curriculum"
    source: ClassVar[str] = "Xu et al., 2020"

    start: float = 0.0
    end: float = 0.5
    low: float = 0.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "start", self.start, 0.0, 1.0)
        require_between(self.name, "low", self.low, 0.0, 1.0)
        if not self.start < self.end <= 1.0:
            raise UsageError(
                f"{self.name}: end = {self.end:g}, a share of the training: "
                f"give a number above start = {self.start:g} and at most 1"
            )
        if self.shape not in SHAPES:
            raise UsageError(
                f"{self.name}: shape = {self.shape!r}: give one of {', '.join(SHAPES)}"
            )

    def ramp(self, step: int, steps: int) -> float:
        """From `low` at `start` to 1 at `end`."""
        share = (step / steps - self.start) / (self.end - self.start)
        return self.low + (1 - self.low) * _curve(self.shape, min(1.0, max(0.0, share)))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The wrapped losses."""
        return self.inner(model, batch)


def _curve(shape: str, share: float) -> float:
    """From 0 at 0 to 1 at 1, without a fall."""
    if shape == "smooth":
        # c share^4 up to a quarter, then its tangent, which ends at 1
        turn = 0.25
        slope = 4 * turn**3
        scale = 1 / (turn**4 + slope * (1 - turn))
        return scale * (share**4 if share < turn else turn**4 + slope * (share - turn))
    if shape == "cosine":
        return (1 - math.cos(math.pi * share)) / 2
    return share
