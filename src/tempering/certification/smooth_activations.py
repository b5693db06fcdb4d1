"""Bounds of sigmoid, tanh, softplus, GELU, SiLU and clamp."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.linear_bounds import LinearBounds
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.precision import UNIT64, Precision

_HALVINGS = 30
"""Bisection steps for a slope; bounds hold for any slope."""
_PIECES = 32
"""Pieces into which an interval is split if the extremes have no closed form."""
_ULPS = 16
"""Error of library implementations in units in the last place."""


@dataclass(frozen=True, eq=False)
class SmoothActivation(Nonlinear):
    """A function of single numbers with slopes in a known range.

    A line of slope s lies below f on [l, u] if its offset is at most the least value of
    f(z) - s z there. That least value stands at an end or where f'(z) = s. Of all slopes the
    one is taken whose line is highest at the middle of [l, u]: this is the line of least
    area (Zhang et al., 2018, table 2, for the functions named there).

    Attributes:
        precision: How the network rounds.
    """

    precision: Precision
    slopes: ClassVar[tuple[float, float]]

    @abstractmethod
    def value(self, z: Tensor) -> Tensor:
        """The exact function, in float64."""

    @abstractmethod
    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], float | Tensor]:
        """Points, besides the ends, at which f(z) - s z can be least or largest.

        Returns:
            The points, not cut to the interval, and by how much the extremes at these points
            may be missed.
        """

    def deviation(self, given: IntervalTensor, out: IntervalTensor) -> Tensor:  # noqa: ARG002
        """Error bound of the network's own implementation."""
        return self.precision.values(_ULPS) * (1 + out.size())

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Map both ends; the function does not decrease."""
        out = IntervalTensor(self.value(given[0].low), self.value(given[0].high))
        return out, self.deviation(given[0], out) + self._lost(given[0], out)

    def _lost(self, given: IntervalTensor, out: IntervalTensor) -> Tensor:
        """Error bound for rounding in the lines and in their use."""
        steep = max(1.0, *map(abs, self.slopes))
        numbers = given.low[0].numel() + 256
        return numbers * UNIT64 * steep * (1 + given.size() * 2 + out.size())

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """All inputs."""
        return given.low < given.high

    def relax(self, given: IntervalTensor) -> LinearBounds:
        """The line of smallest area on each side."""
        low_slope, low_offset = self._line(given, below=True)
        high_slope, high_offset = self._line(given, below=False)
        return LinearBounds(low_slope, low_offset, high_slope, high_offset)

    def _line(self, given: IntervalTensor, below: bool) -> tuple[Tensor, Tensor]:
        middle = (given.low + given.high) / 2
        least = torch.full_like(middle, self.slopes[0])
        most = torch.full_like(middle, self.slopes[1])
        for _ in range(_HALVINGS):
            slope = (least + most) / 2
            _, where = self._extreme(slope, given, below)
            steeper = (where < middle) == below
            least, most = torch.where(steeper, slope, least), torch.where(steeper, most, slope)
        slope = (least + most) / 2
        offset, _ = self._extreme(slope, given, below)
        return slope, offset

    def _extreme(self, slope: Tensor, given: IntervalTensor, below: bool) -> tuple[Tensor, Tensor]:
        """The minimum (or maximum) of f(z) - s z on the interval, and where it is attained."""
        points, missed = self.extremes(slope, given)
        best, where = self.value(given.low) - slope * given.low, given.low
        for point in (given.high, *points):
            inside = torch.minimum(torch.maximum(point, given.low), given.high)
            value = self.value(inside) - slope * inside
            better = value < best if below else value > best
            best, where = torch.where(better, value, best), torch.where(better, inside, where)
        return (best - missed if below else best + missed), where


class Sigmoid(SmoothActivation):
    """1 / (1 + exp(-z))."""

    pointwise = True
    slopes = (0.0, 0.25)

    def value(self, z: Tensor) -> Tensor:
        """Values in (0, 1)."""
        return z.sigmoid()

    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], float]:  # noqa: ARG002
        """Where p (1 - p) = s."""
        root = (1 - 4 * slope).clamp_min(0.0).sqrt()
        point = 2 * torch.atanh(root)
        return [point, -point], 0.0


class Tanh(SmoothActivation):
    """The hyperbolic tangent."""

    pointwise = True
    slopes = (0.0, 1.0)

    def value(self, z: Tensor) -> Tensor:
        """Values in (-1, 1)."""
        return z.tanh()

    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], float]:  # noqa: ARG002
        """Where 1 - t^2 = s."""
        point = torch.atanh((1 - slope).clamp_min(0.0).sqrt())
        return [point, -point], 0.0


@dataclass(frozen=True, eq=False)
class Softplus(SmoothActivation):
    """log(1 + exp(beta z)) / beta, replaced by z where beta z is above a threshold.

    Attributes:
        beta: How sharp, above 0.
        threshold: At least 0.
    """

    beta: float = 1.0
    threshold: float = 20.0
    pointwise = True
    slopes = (0.0, 1.0)

    def value(self, z: Tensor) -> Tensor:
        """Without the threshold."""
        return torch.logaddexp(self.beta * z, torch.zeros_like(z)) / self.beta

    def deviation(self, given: IntervalTensor, out: IntervalTensor) -> Tensor:
        """The threshold too."""
        jump = math.log1p(math.exp(-self.threshold)) / self.beta
        above = given.high * self.beta >= self.threshold * (1 - 1e-5)
        rounding = self.precision.values(_ULPS) / min(1.0, self.beta)
        return jump * above + rounding * (1 + out.size())

    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], float]:  # noqa: ARG002
        """Where the sigmoid is s."""
        return [torch.logit(slope) / self.beta], 0.0


@dataclass(frozen=True, eq=False)
class Clamp(SmoothActivation):
    """Cut at both ends; exact.

    Attributes:
        least: Lower end, or -inf.
        most: Upper end, or inf.
    """

    least: float = -math.inf
    most: float = math.inf
    pointwise = True
    slopes = (0.0, 1.0)

    def value(self, z: Tensor) -> Tensor:
        """Values in [least, most]."""
        return z.clamp(self.least, self.most)

    def deviation(self, given: IntervalTensor, out: IntervalTensor) -> Tensor:
        """Zero: the clamp is exact."""
        return torch.zeros_like(out.low[:1]) * given.low.new_zeros(())

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """Inputs whose interval contains a kink."""
        cut = (given.low < self.least) | (given.high > self.most)
        return cut & (given.high > self.least) & (given.low < self.most)

    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], float]:  # noqa: ARG002
        """The kinks."""
        ends = [end for end in (self.least, self.most) if math.isfinite(end)]
        return [torch.full_like(slope, end) for end in ends], 0.0


class _Dipping(SmoothActivation):
    """Decreases to one minimum, then increases; second derivative at most `bend`."""

    bend: ClassVar[float]
    """The largest absolute second derivative."""
    lowest: ClassVar[float]
    """Position of the minimum, to within 1e-4."""

    def deviation(self, given: IntervalTensor, out: IntervalTensor) -> Tensor:
        """A share of z: near 0 of what multiplies it, digits cancel."""
        return self.precision.values(_ULPS) * (1 + torch.maximum(given.size(), out.size()))

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """The larger end, and the minimum if it is inside."""
        ends = self.value(given[0].low), self.value(given[0].high)
        dip = given[0].low.new_tensor(self.lowest)
        # near the lowest point the function is flat: within 1e-4 it rises by 1e-8 bend / 2
        bottom = self.value(dip) - 1e-8 * self.bend
        within = (given[0].low <= dip + 1e-4) & (given[0].high >= dip - 1e-4)
        low = torch.minimum(*ends)
        out = IntervalTensor(torch.where(within, bottom, low), torch.maximum(*ends))
        return out, self.deviation(given[0], out) + self._lost(given[0], out)

    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], Tensor]:  # noqa: ARG002
        """Points side by side: between two of them a chord is off by h^2 / 8 times the bend."""
        step = (given.high - given.low) / _PIECES
        points = [given.low + step * number for number in range(1, _PIECES)]
        return points, step.square() * (1.01 * self.bend / 8)


class GELU(_Dipping):
    """z times the normal distribution function; second derivative phi(z) (2 - z^2)."""

    slopes = (-0.13, 1.13)
    bend = 0.798
    lowest = -0.7517916

    def value(self, z: Tensor) -> Tensor:
        """The one with erf."""
        return F.gelu(z)


class SiLU(_Dipping):
    """z times its sigmoid; its second derivative is largest at 0, 1/2."""

    slopes = (-0.1, 1.1)
    bend = 0.5
    lowest = -1.2784645

    def value(self, z: Tensor) -> Tensor:
        """Also called swish."""
        return F.silu(z)


class TanhGELU(_Dipping):
    """GELU with the approximation z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2."""

    slopes = (-0.14, 1.14)
    bend = 0.81
    lowest = -0.7524614

    def value(self, z: Tensor) -> Tensor:
        """Hendrycks and Gimpel (2016), section 2."""
        return F.gelu(z, approximate="tanh")


class Mish(_Dipping):
    """z tanh(softplus(z))."""

    slopes = (-0.12, 1.1)
    bend = 0.65
    lowest = -1.1924313

    def value(self, z: Tensor) -> Tensor:
        """Misra (2020), equation 1."""
        return F.mish(z)
