"""Branch and bound on the signs of ReLUs."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.certification.alpha_crown import (
    AlphaCrown,
    OptimizedParameters,
    chunk,
    initial_parameters,
    optimized_bounds,
)
from tempering.certification.crown import BoundParameters, crown_lower_bound
from tempering.certification.graph import Graph
from tempering.certification.hidden_intervals import crown_intervals
from tempering.certification.interval import StepBounds, propagate
from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.linear_bounds import LinearBounds
from tempering.certification.operations import IntervalTensor
from tempering.certification.region import Region
from tempering.core.errors import UsageError

_SMALL = 2000
"""Largest number of activations for which CROWN recomputes hidden intervals."""
_BATCH = 64
"""Subdomains that are bounded at a time."""
_AT_LEAVES = 10
"""How many times longer a subdomain without unstable ReLUs is optimised."""

Find = Callable[[Tensor], Tensor | None]
"""From images, shape (m, c, h, w), to a misclassified image near them, or None."""


@dataclass(frozen=True)
class Branching:
    """Settings of branch and bound.

    Attributes:
        nodes: Domains that are bounded for a sample at most.
        seconds: For a sample at most; None for no limit, so that results depend on no clock.
        steps: Of Adam for each domain.
        rate: Length of its first step.

    Raises:
        UsageError: If a number is not positive.
    """

    nodes: int = 200
    seconds: float | None = None
    steps: int = 20
    rate: float = 0.3

    def __post_init__(self) -> None:
        if self.nodes < 1 or (self.seconds is not None and not self.seconds > 0):
            raise UsageError(
                f"branching with {self.nodes} nodes and {self.seconds} seconds: "
                "give at least 1 node, and more than 0 seconds or None"
            )
        AlphaCrown(self.steps, self.rate)


@dataclass(eq=False)
class _Subdomain:
    """Images on which some ReLUs have known signs.

    Attributes:
        signs: Step that feeds a ReLU -> 1, -1 or 0 where not known, shape of the step.
        choice: The slopes and multipliers that bounded it, one row.
        split: Step and place of the next ReLU to split; None if all signs are known.
    """

    signs: dict[int, Tensor]
    choice: OptimizedParameters
    split: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class BranchAndBound:
    """Branch and bound for the margins of one sample (Bunel et al., 2020).

    A margin is bounded on all images; where the bound is not positive, the ReLU that seems to
    cost most is split in two: its input is at least 0, or at most 0. Each half is bounded
    again, with the known signs as constraints whose multipliers are optimised (Wang et al.,
    2021). The margin is proven when no half is left.

    Attributes:
        graph: The network.
        region: Of one sample.
        bounds: Intervals of that sample.
        settings: How long.
        find: Looks for a counterexample.
        until: Time of the monotonic clock at which to stop.
    """

    graph: Graph
    region: Region
    bounds: StepBounds
    settings: Branching
    find: Find
    until: float

    def prove(self, a: Tensor, nodes: int) -> tuple[float, int, Tensor | None]:
        """Bound one margin.

        Args:
            a: The margin as coefficients of the logits, shape (1, outputs).
            nodes: Domains that may be bounded.

        Returns:
            A lower bound, how many domains were bounded, and an image that fools, if one
            was met.
        """
        signs = {
            source: torch.zeros_like(self.bounds.intervals[source].low[0])
            for source in self._sources()
        }
        heap: list[tuple[float, int, _Subdomain]] = []
        used, proven = 0, float("inf")
        waiting = [_Subdomain(signs, OptimizedParameters({}), None)]
        while waiting:
            bounds, domains, counterexample = self._bound(waiting, a)
            used += len(waiting)
            if counterexample is not None:
                return min(bounds), used, counterexample
            for number, (bound, domain) in enumerate(zip(bounds, domains, strict=True)):
                if bound > 0:
                    proven = min(proven, bound)
                else:
                    heapq.heappush(heap, (bound, used + number, domain))
            if not heap:
                break
            if heap[0][2].split is None or used >= nodes or time.monotonic() > self.until:
                break
            size = max(1, min(_BATCH, chunk(self.graph, a), nodes - used) // 2)
            waiting = []
            while heap and heap[0][2].split is not None and len(waiting) < 2 * size:
                waiting += self._halves(heapq.heappop(heap)[2])
        return min(proven, heap[0][0] if heap else proven), used, None

    def _sources(self) -> list[int]:
        return [
            source
            for source, users in self.graph.inputs_of_nonlinear.items()
            if any(isinstance(self.graph.steps[user].operation, LeakyRectifier) for user in users)
        ]

    def _halves(self, domain: _Subdomain) -> list[_Subdomain]:
        if domain.split is None:
            return []
        source, place = domain.split
        halves = []
        for sign in (1.0, -1.0):
            known = domain.signs[source].flatten().clone()
            known[place] = sign
            signs = domain.signs | {source: known.reshape(domain.signs[source].shape)}
            halves.append(_Subdomain(signs, domain.choice, None))
        return halves

    def _bound(
        self, domains: list[_Subdomain], a: Tensor
    ) -> tuple[list[float], list[_Subdomain], Tensor | None]:
        """Bounds of subdomains, the ReLU that each splits next, and a counterexample."""
        count = len(domains)
        rows = torch.arange(count, device=a.device)
        region = self.region.part(torch.zeros_like(rows))
        signs = {
            source: torch.stack([domain.signs[source] for domain in domains])
            for source in domains[0].signs
        }
        known = self.bounds.part(torch.zeros_like(rows))
        known.intervals = [
            _cut(interval, signs.get(number)) for number, interval in enumerate(known.intervals)
        ]
        remake = crown_intervals if self.graph.size <= _SMALL else propagate
        bounds = remake(self.graph, region, known)
        empty = _empty(bounds)
        choice = self._begin(bounds, domains, signs, rows, a)
        repeated = a.expand(count, -1)
        plan = AlphaCrown(self.settings.steps, self.settings.rate)
        best, kept = optimized_bounds(self.graph, bounds, region, rows, repeated, choice, plan)
        leaves = (self._closed(bounds, best) & (best <= 0) & ~empty).nonzero()[:, 0]
        if len(leaves):
            plan = AlphaCrown(self.settings.steps * _AT_LEAVES, self.settings.rate)
            own = kept.mapped(lambda tensor: tensor[leaves])
            longer = optimized_bounds(
                self.graph, bounds, region, leaves, repeated[leaves], own, plan
            )
            best[leaves] = torch.maximum(best[leaves], longer[0])
        tuning = kept.tuning()
        tuning.seen = {}
        last = len(self.graph.steps) - 1
        _, image = crown_lower_bound(self.graph, bounds, region, last, rows, repeated, tuning)
        best = torch.where(empty, torch.full_like(best, torch.inf), best)
        left = (best <= 0).nonzero()[:, 0]
        counterexample = self.find(region.where_least(image, rows)[left]) if len(left) else None
        splits = self._splits(bounds, tuning.seen, kept, rows)
        per_sample = []
        for row in range(count):
            own = kept.mapped(lambda tensor, row=row: tensor[row : row + 1])  # type: ignore[misc]
            per_sample.append(_Subdomain(domains[row].signs, own, splits[row]))
        return best.tolist(), per_sample, counterexample

    def _begin(
        self,
        bounds: StepBounds,
        domains: list[_Subdomain],
        signs: dict[int, Tensor],
        rows: Tensor,
        a: Tensor,
    ) -> OptimizedParameters:
        """Start from the parameters of the parent subdomain."""
        choice = initial_parameters(self.graph, bounds, rows)
        units = self._units(bounds, signs, rows, a)
        zeros = {source: torch.zeros_like(sign) for source, sign in signs.items()}
        choice = OptimizedParameters(choice.slopes, zeros, signs, units)
        for row, domain in enumerate(domains):
            for step, slopes in domain.choice.slopes.items():
                if step in choice.slopes:
                    choice.slopes[step][row] = slopes[0]
            for step, multipliers in domain.choice.multipliers.items():
                before = multipliers * domain.choice.units[step]
                choice.multipliers[step][row] = (before / units[step][row : row + 1])[0]
        return choice

    def _units(
        self, bounds: StepBounds, signs: dict[int, Tensor], rows: Tensor, a: Tensor
    ) -> dict[int, Tensor]:
        """The scale of coefficients where multipliers are added, so that one rate fits all."""
        tuning = BoundParameters(seen={})
        last = len(self.graph.steps) - 1
        region = self.region.part(torch.zeros_like(rows))
        crown_lower_bound(self.graph, bounds, region, last, rows, a.expand(len(rows), -1), tuning)
        units = {}
        for source, sign in signs.items():
            users = self.graph.inputs_of_nonlinear[source]
            seen = [tuning.seen[user] for user in users if tuning.seen and user in tuning.seen]
            size = torch.stack([weight.abs().flatten(1).amax(1) for weight in seen]).amax(0)
            units[source] = size.clamp_min(1e-6).reshape(-1, *[1] * (sign.ndim - 1))
        return units

    def _free(self, bounds: StepBounds) -> dict[int, Tensor]:
        """ReLU -> where it is unstable, shape (rows, ...)."""
        unstable = {}
        for users in self.graph.inputs_of_nonlinear.values():
            for user in users:
                if isinstance(self.graph.steps[user].operation, LeakyRectifier):
                    lines = bounds.relaxation(self.graph, user)
                    if isinstance(lines, LinearBounds) and lines.free is not None:
                        unstable[user] = lines.free
        return unstable

    def _closed(self, bounds: StepBounds, like: Tensor) -> Tensor:
        """Subdomains without unstable ReLUs, shape (rows,)."""
        open_ = torch.zeros_like(like, dtype=torch.bool)
        for free in self._free(bounds).values():
            open_ = open_ | free.flatten(1).any(1)
        return ~open_

    def _splits(
        self, bounds: StepBounds, seen: dict[int, Tensor], kept: OptimizedParameters, rows: Tensor
    ) -> list[tuple[int, int] | None]:
        """The open ReLU of each domain that costs its bound most.

        Where the coefficient is negative the chord lies above ReLU by up to its offset;
        where it is positive the lower line lies below by the smaller of its gaps at the ends
        (after Bunel et al., 2020, section 4.2).
        """
        scores, places = [], []
        for user, free in self._free(bounds).items():
            source = self.graph.steps[user].sources[0]
            given = bounds.intervals[source]
            lines = bounds.relaxation(self.graph, user)
            if user not in seen or not isinstance(lines, LinearBounds):
                continue
            a = seen[user]
            slope = kept.slopes.get(user, lines.low_slope)
            gap = torch.minimum(slope * -given.low, (1 - slope) * given.high)
            score = -a.clamp_max(0.0) * lines.high_offset + a.clamp_min(0.0) * gap
            score = score + 1e-6 * a.abs() * lines.high_offset + 1e-300
            scores.append(torch.where(free, score, torch.zeros_like(score)).flatten(1))
            places.append(source)
        if not scores:
            return [None] * len(rows)
        best = torch.stack([score.amax(1) for score in scores], 1)
        where = torch.stack([score.argmax(1) for score in scores], 1)
        layer = best.argmax(1)
        return [
            (places[number], int(where[row, number])) if float(best[row, number]) > 0 else None
            for row, number in enumerate(layer.tolist())
        ]


def _cut(given: IntervalTensor, sign: Tensor | None) -> IntervalTensor:
    """The interval, cut at 0 where the sign is fixed."""
    if sign is None:
        return given
    low = torch.where(sign > 0, given.low.clamp_min(0.0), given.low)
    high = torch.where(sign < 0, given.high.clamp_max(0.0), given.high)
    return IntervalTensor(low, high)


def _empty(bounds: StepBounds) -> Tensor:
    """Empty subdomains, in which the ends of some interval cross, shape (rows,)."""
    return torch.stack(
        [(interval.low > interval.high).flatten(1).any(1) for interval in bounds.intervals]
    ).any(0)
