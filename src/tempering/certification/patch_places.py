"""Patches, place by place: at each place the square is a box of free pixels.

Chiang et al., 'Certified defenses for adversarial patches', 2020, section 3.1. A sample is
certified if it is at every place; the search ends at the first place where it is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.certification.margins import MarginBatch
from tempering.certification.operations import IntervalTensor
from tempering.certification.reduction import Reduction
from tempering.certification.region import Region
from tempering.core.patches import Patch
from tempering.core.threats import TOLERANCE


@dataclass(frozen=True, eq=False)
class PatchPlaces:
    """The places of the square in one image, those in its middle first.

    Together they hold all that `Threat.contains` accepts, tolerance included. Where no pixel may
    change there is one place of no pixels.

    Attributes:
        x: The image, shape (1, c, h, w), float64.
        square: The patch, as large as tolerance lets it be.
        corners: Upper left pixels, shape (places, 2), int64.
        slack: How far pixels may lie outside [0, 1].
    """

    x: Tensor
    square: Patch
    corners: Tensor
    slack: float

    @classmethod
    def of(cls, x: Tensor, threat: Patch) -> PatchPlaces:
        """All places.

        Args:
            x: One image, shape (1, c, h, w).
            threat: The patch.
        """
        height, width = x.shape[2:]
        slack = TOLERANCE * max(1.0, threat.eps)
        fixed = threat.at is not None and threat.side(height, width) > 0
        wide = threat if fixed else Patch(min(1.0, threat.eps + slack))
        side = wide.side(height, width)
        corners = torch.tensor(wide.places(height, width) or [(0, 0)], device=x.device)
        middle = torch.tensor([(height - side) / 2, (width - side) / 2], device=x.device)
        nearest = (corners - middle).square().sum(1).argsort(stable=True)
        return cls(x.double(), wide, corners[nearest], slack)

    def __len__(self) -> int:
        return len(self.corners)

    def region(self, places: Tensor) -> Region:
        """Boxes at some places, one row each."""
        top, left = self.corners[places].unbind(1)
        free = self.square.windows(top, left, *self.x.shape[2:])
        low = torch.where(free, self.x.clamp_max(-self.slack), self.x)
        high = torch.where(free, self.x.clamp_min(1 + self.slack), self.x)
        return Region("linf", self.x.expand_as(low), 0.0, IntervalTensor(low, high))


@dataclass(eq=False)
class PlacesVerdict:
    """What was proven of one sample.

    Attributes:
        margin: A lower bound of its margin at all places; -inf if a place is left.
        method: The most expensive method that a place took.
        seconds: Method -> time.
    """

    margin: float
    method: str
    seconds: dict[str, float] = field(default_factory=dict)


def certify_places(
    reduction: Reduction,
    places: PatchPlaces,
    protected: Tensor,
    work: dict[str, Callable[[MarginBatch], None]],
    until: float,
    batch_size: int,
) -> PlacesVerdict:
    """Bound the margins of one sample at all places.

    Args:
        reduction: The network.
        places: Of the square in it.
        protected: Outputs that the defender wants to win, shape (outputs,), bool.
        work: Methods by name, cheapest first; each is given the places that are still open.
        until: Time of the monotonic clock at which to give up.
        batch_size: Places at a time.
    """
    verdict = PlacesVerdict(torch.inf, "")
    names = list(work)
    for some in torch.split(torch.arange(len(places), device=places.x.device), batch_size):
        own = protected.expand(len(some), -1)
        region = reduction.behind(places.region(some))
        case = MarginBatch.of(reduction.graph, region, own)
        for number, (name, method) in enumerate(work.items()):
            began = time.monotonic()
            if began > until:
                break
            method(case)
            spent = verdict.seconds.get(name, 0.0)
            verdict.seconds[name] = spent + time.monotonic() - began
            margin = case.margin()
            left = (margin <= 0).nonzero()[:, 0]
            proven = margin[margin > 0]
            if len(proven):
                verdict.margin = min(verdict.margin, float(proven.min()))
                verdict.method = names[max(number, names.index(verdict.method or names[0]))]
            case = case.part(left)
            if not len(left):
                break
        if len(case.protected):
            return PlacesVerdict(-torch.inf, "", verdict.seconds)
    return verdict
