"""Bounds over windows equal those with whole rows, but for rounding."""

import pytest
import torch
from torch import Tensor, nn

from tempering.certification.crown import BoundParameters
from tempering.certification.graph import Graph
from tempering.certification.hidden_intervals import WholeRows
from tempering.certification.interval import StepBounds, propagate
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.certification.window_bounds import WindowRows
from tempering.certification.windows import Extent, Windows, window_plan
from tempering.core.threats import L1, L2, Linf, Threat
from tests.certification.nets import build, images


class Towers(nn.Module):
    """Branches of other strides and kernels that meet in a sum and in a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, 1, 1)
        self.norm = nn.BatchNorm2d(4)
        self.wide, self.short = nn.Conv2d(4, 6, (3, 2), 2, (2, 0)), nn.Conv2d(4, 6, 1, 2)
        self.last = nn.Conv2d(12, 4, 3, 1, 2, dilation=2, groups=2)
        self.head = nn.Linear(4 * 49, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.first(x)))
        left, right = self.wide(h)[:, :, :7], self.short(h)
        h = torch.cat([torch.relu(left[:, :, 1:] * 1.0 if False else left), right.tanh()], 1)
        return self.head(torch.relu(self.last(h)).flatten(1))
