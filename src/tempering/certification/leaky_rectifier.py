"""ReLU and leaky ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.linear_bounds import LinearBounds
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.precision import UNIT64, Precision


@dataclass(frozen=True, eq=False)
class LeakyRectifier(Nonlinear):
    """z where it is positive, else `floor` times z.

    Attributes:
        floor: Slope below zero, at least 0 and below 1.
        precision: How the network rounds.
    """

    floor: float
    precision: Precision
    pointwise = True

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Map both ends; ReLU has no rounding error."""
        out = IntervalTensor(*(F.leaky_relu(end, self.floor) for end in given[0]))
        own = self.precision.values(2) * self.floor * given[0].low.clamp_max(0.0).abs()
        lines = (given[0].low[0].numel() + 256) * UNIT64 * given[0].size()
        return out, own + lines + self.precision.tiny * (self.floor > 0)

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """Inputs that may have either sign."""
        return (given.low < 0) & (given.high > 0)

    def relax(self, given: IntervalTensor) -> LinearBounds:
        """The chord above; below, the slope of smaller area (Zhang et al., 2018, section 3.3)."""
        free = self.unsettled(given)
        on = (given.low >= 0).to(given.low)
        slope = on + (1 - on) * self.floor
        width = torch.where(free, given.high - given.low, torch.ones_like(given.low))
        share = given.high / width
        chord = torch.where(free, share + (1 - share) * self.floor, slope)
        offset = torch.where(free, (1 - self.floor) * share * -given.low, torch.zeros_like(slope))
        steep = (given.high > -given.low).to(slope) * (1 - self.floor) + self.floor
        return LinearBounds(torch.where(free, steep, slope), None, chord, offset, free, self.floor)
