"""Bounds of functions with kinks: PReLU of any slope, absolute value, ELU, hardswish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.operations import IntervalTensor
from tempering.certification.smooth_activations import SmoothActivation


@dataclass(frozen=True, eq=False)
class Kinked(SmoothActivation):
    """z where it is positive, else a factor times z; the absolute value where that is -1.

    Attributes:
        factor: Broadcastable to (1, ...), float64.
    """

    factor: Tensor = field(default_factory=lambda: torch.tensor(-1.0, dtype=torch.float64))

    @property
    def slopes(self) -> tuple[float, float]:  # type: ignore[override]
        """All slopes between the factors and 1."""
        return min(1.0, float(self.factor.min())), max(1.0, float(self.factor.max()))

    def value(self, z: Tensor) -> Tensor:
        """Either side."""
        return torch.where(z > 0, z, self.factor * z)

    def deviation(self, given: IntervalTensor, out: IntervalTensor) -> Tensor:
        """A product rounds."""
        share = self.precision.values(2)
        return share * torch.maximum(given.size(), out.size()) + self.precision.tiny

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Both ends, and 0 if it is inside."""
        ends = self.value(given[0].low), self.value(given[0].high)
        inside = self.unsettled(given[0])
        zero = torch.zeros_like(ends[0])
        low, high = torch.minimum(*ends), torch.maximum(*ends)
        low = torch.where(inside, torch.minimum(low, zero), low)
        out = IntervalTensor(low, torch.where(inside, torch.maximum(high, zero), high))
        return out, self.deviation(given[0], out) + self._lost(given[0], out)

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """Inputs that may have either sign."""
        return (given.low < 0) & (given.high > 0)

    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], float]:  # noqa: ARG002
        """The kink."""
        return [torch.zeros_like(slope)], 0.0


@dataclass(frozen=True, eq=False)
class Elu(SmoothActivation):
    """scale z where it is positive, else scale alpha (exp(stretch z) - 1): ELU, SELU, CELU.

    Attributes:
        alpha: Depth, above 0.
        scale: Above 0.
        stretch: Above 0.
    """

    alpha: float = 1.0
    scale: float = 1.0
    stretch: float = 1.0
    pointwise = True

    @property
    def slopes(self) -> tuple[float, float]:  # type: ignore[override]
        """From 0 to the steeper side of the kink."""
        return 0.0, self.scale * max(1.0, self.alpha * self.stretch)

    def value(self, z: Tensor) -> Tensor:
        """At least -scale alpha."""
        bent = self.alpha * torch.expm1(z.clamp_max(0.0) * self.stretch)
        return self.scale * torch.where(z > 0, z, bent)

    def deviation(self, given: IntervalTensor, out: IntervalTensor) -> Tensor:  # noqa: ARG002
        """exp(z) - 1 may be computed as it is written."""
        return self.precision.values(24) * (self.scale * self.alpha + out.size())

    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], float]:  # noqa: ARG002
        """The kink, and where the bent side has the slope."""
        steepest = self.scale * self.alpha * self.stretch
        point = ((slope / steepest).clamp_min(1e-300).log() / self.stretch).clamp_max(0.0)
        return [point, torch.zeros_like(slope)], 0.0


class Hardswish(SmoothActivation):
    """z clamp(z + 3, 0, 6) / 6."""

    slopes = (-0.5, 1.5)

    def value(self, z: Tensor) -> Tensor:
        """At least -3/8, at -3/2."""
        return F.hardswish(z)

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Both ends, and the lowest point if it is inside."""
        ends = self.value(given[0].low), self.value(given[0].high)
        inside = (given[0].low <= -1.5) & (given[0].high >= -1.5)
        low = torch.minimum(*ends)
        out = IntervalTensor(torch.where(inside, low.clamp_max(-0.375), low), torch.maximum(*ends))
        # between -3 and 0 it first falls: the larger end is the largest value
        error = self.precision.values(16) * (1 + torch.maximum(given[0].size(), out.size()))
        return out, error + self._lost(given[0], out)

    def extremes(self, slope: Tensor, given: IntervalTensor) -> tuple[list[Tensor], float]:  # noqa: ARG002
        """The kinks, and where (2 z + 3) / 6 is the slope."""
        inner = (3 * slope - 1.5).clamp(-3.0, 3.0)
        return [inner, torch.full_like(slope, -3.0), torch.full_like(slope, 3.0)], 0.0


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al. (2017), section 3."""
