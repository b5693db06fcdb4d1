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

from tempering.certification.graph import Graph
from tempering.certification.margins import MarginBatch
from tempering.certification.operations import IntervalTensor
from tempering.certification.region import Region
from tempering.core.patches import Patch
from tempering.core.threats import TOLERANCE


def patch_region(x: Tensor, threat: Patch) -> Region:
    """One box for each place of the square, those in the middle of the image first.

    It holds all that `Threat.contains` accepts, tolerance included.

    Args:
        x: One image, shape (1, c, h, w).
        threat: The patch.

    Returns:
        A region with one row a place; with one that holds the image alone if no pixel may change.
    """
    height, width = x.shape[2:]
    slack = TOLERANCE * max(1.0, threat.eps)
    fixed = threat.at is not None and threat.side(height, width) > 0
    wide = threat if fixed else Patch(min(1.0, threat.eps + slack))
    places = torch.tensor(wide.places(height, width), device=x.device).reshape(-1, 2)
    x = x.double()
    if not len(places):
        return Region("linf", x, 0.0, IntervalTensor(x, x))
    side = wide.side(height, width)
    middle = torch.tensor([(height - side) / 2, (width - side) / 2], device=x.device)
    places = places[(places - middle).square().sum(1).argsort(stable=True)]
    free = wide.windows(places[:, 0], places[:, 1], height, width)
    low = torch.where(free, x.clamp_max(-slack), x)
    high = torch.where(free, x.clamp_min(1 + slack), x)
    return Region("linf", x.expand_as(low), 0.0, IntervalTensor(low, high))


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
    graph: Graph,
    region: Region,
    protected: Tensor,
    work: dict[str, Callable[[MarginBatch], None]],
    until: float,
    batch_size: int,
) -> PlacesVerdict:
    """Bound the margins of one sample at all places.

    Args:
        graph: The network.
        region: One row a place.
        protected: Outputs that the defender wants to win, shape (outputs,), bool.
        work: Methods by name, cheapest first; each is given the places that are still open.
        until: Time of the monotonic clock at which to give up.
        batch_size: Places at a time.
    """
    verdict = PlacesVerdict(torch.inf, "")
    names = list(work)
    for places in torch.split(torch.arange(len(region.x), device=region.x.device), batch_size):
        own = protected.expand(len(places), -1)
        case = MarginBatch.of(graph, region.part(places), own)
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
