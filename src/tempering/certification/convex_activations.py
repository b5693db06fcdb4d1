"""Bounds of convex functions: exponential, square, reciprocal, negated root and logarithm."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.certification.linear_bounds import LinearBounds
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.precision import UNIT64, Precision


@dataclass(frozen=True, eq=False)
class ConvexActivation(Nonlinear):
    """A convex function of single numbers: below, a tangent; above, the chord.

    Attributes:
        precision: How the network rounds.
        units: Error of the network's own implementation, in units in the last place; 0 for a
            step that the network does not compute itself.
        lost: Absolute error, besides.
    """

    precision: Precision
    units: float = 16
    lost: float = 0.0

    @abstractmethod
    def value(self, z: Tensor) -> Tensor:
        """The exact function, in float64."""

    @abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """Its derivative."""

    def known(self, given: IntervalTensor) -> IntervalTensor:
        """The interval, cut to what can occur."""
        return given

    def touching(self, given: IntervalTensor) -> Tensor:
        """Where the tangent touches: at the middle the area between is smallest."""
        return (given.low + given.high) / 2

    def least(self, given: IntervalTensor, ends: tuple[Tensor, Tensor]) -> Tensor:  # noqa: ARG002
        """The least value; at an end if the function is monotone."""
        return torch.minimum(*ends)

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Both ends, and the rounding of the lines."""
        inside = self.known(given[0])
        ends = self.value(inside.low), self.value(inside.high)
        out = IntervalTensor(self.least(inside, ends), torch.maximum(*ends))
        steepest = torch.maximum(self.slope(inside.low).abs(), self.slope(inside.high).abs())
        lines = 4 * (inside.low[0].numel() + 256) * UNIT64
        error = self.precision.values(self.units) * out.size()
        error = error + lines * (out.size() + steepest * inside.size())
        return out, error + self.lost + self.units * self.precision.tiny

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """All inputs that are not known."""
        return given.low < given.high

    def relax(self, given: IntervalTensor) -> LinearBounds:
        """A tangent and the chord."""
        inside = self.known(given)
        at = self.touching(inside)
        below = self.slope(at)
        ends = self.value(inside.low), self.value(inside.high)
        width = inside.high - inside.low
        wide = width > 0
        chord = (ends[1] - ends[0]) / torch.where(wide, width, torch.ones_like(width))
        above = torch.where(wide, chord, below)
        above = torch.maximum(above, self.slope(inside.low))
        above = torch.minimum(above, self.slope(inside.high))
        offset = torch.maximum(ends[0] - above * inside.low, ends[1] - above * inside.high)
        return LinearBounds(below, self.value(at) - below * at, above, offset)


@dataclass(frozen=True, eq=False)
class Exponential(ConvexActivation):
    """exp(z), constant above `most`.

    Attributes:
        most: Largest argument, so that nothing overflows.
    """

    most: float = math.inf

    def value(self, z: Tensor) -> Tensor:
        """Positive."""
        return z.clamp_max(self.most).exp()

    def slope(self, z: Tensor) -> Tensor:
        """The function itself, not cut."""
        return self.value(z)

    def relax(self, given: IntervalTensor) -> LinearBounds:
        """Constants where the interval reaches beyond `most`."""
        lines = super().relax(given)
        cut = given.high > self.most
        zero = torch.zeros_like(lines.high_slope)
        low, high = self.value(given.low), self.value(given.high)
        return LinearBounds(
            torch.where(cut, zero, lines.low_slope),
            torch.where(cut, low, lines.low_offset if lines.low_offset is not None else zero),
            torch.where(cut, zero, lines.high_slope),
            torch.where(cut, high, lines.high_offset),
        )


class Square(ConvexActivation):
    """z squared."""

    def value(self, z: Tensor) -> Tensor:
        """At least 0."""
        return z.square()

    def slope(self, z: Tensor) -> Tensor:
        """2 z."""
        return 2 * z

    def least(self, given: IntervalTensor, ends: tuple[Tensor, Tensor]) -> Tensor:
        """0 if it is inside."""
        inside = (given.low <= 0) & (given.high >= 0)
        return torch.where(inside, torch.zeros_like(ends[0]), torch.minimum(*ends))


@dataclass(frozen=True, eq=False)
class _Falling(ConvexActivation):
    """A convex function that falls on positive numbers.

    Attributes:
        floor: A number that no argument is below, at least 0; where 0 and an interval reaches
            it, the function has no bound.
    """

    floor: float = 0.0

    def known(self, given: IntervalTensor) -> IntervalTensor:
        """Arguments of at least `floor`."""
        return IntervalTensor(
            given.low.clamp_min(self.floor),
            torch.maximum(given.high, given.low).clamp_min(self.floor),
        )


class Reciprocal(_Falling):
    """1 / z of positive numbers."""

    def value(self, z: Tensor) -> Tensor:
        """Positive; infinite at 0."""
        return 1 / z

    def slope(self, z: Tensor) -> Tensor:
        """-1 / z^2."""
        return -1 / z.square()


class InverseRoot(_Falling):
    """1 / sqrt(z) of positive numbers."""

    def value(self, z: Tensor) -> Tensor:
        """Positive; infinite at 0."""
        return z.rsqrt()

    def slope(self, z: Tensor) -> Tensor:
        """-z^(-3/2) / 2."""
        return -z.rsqrt() / z / 2


class NegatedRoot(_Falling):
    """-sqrt(z) of positive numbers."""

    def value(self, z: Tensor) -> Tensor:
        """At most 0."""
        return -z.sqrt()

    def slope(self, z: Tensor) -> Tensor:
        """-1 / (2 sqrt(z)); infinite at 0."""
        return -z.rsqrt() / 2


class NegatedLog(_Falling):
    """-log(z) of positive numbers."""

    def value(self, z: Tensor) -> Tensor:
        """Infinite at 0."""
        return -z.log()

    def slope(self, z: Tensor) -> Tensor:
        """-1 / z."""
        return -1 / z
