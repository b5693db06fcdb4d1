"""Subdomains of branch and bound, and their bounds, many in one pass."""

from __future__ import annotations

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
from tempering.certification.hidden_intervals import crown_intervals
from tempering.certification.interval import StepBounds, propagate
from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.linear_bounds import LinearBounds
from tempering.certification.margins import MarginBatch
from tempering.certification.operations import IntervalTensor
from tempering.certification.region import Region

_SMALL = 2000
"""Largest number of activations for which CROWN recomputes hidden intervals."""
_AT_LEAVES = 10
"""How many times longer a subdomain without unstable ReLUs is optimised."""


@dataclass(eq=False)
class Subdomain:
    """Images of a sample on which some ReLUs have known signs, and a margin to bound there.

    Attributes:
        sample: Its number in the batch.
        margin: Number of the margin in the batch.
        signs: Step that feeds a ReLU -> 1, -1 or 0 where not known, shape of the step.
        choice: The slopes and multipliers that bounded it, one row.
        split: Step and place of the next ReLU to split; None if all signs are known.
        bound: The lower bound of the margin.
    """

    sample: int
    margin: int
    signs: dict[int, Tensor]
    choice: OptimizedParameters
    split: tuple[int, int] | None = None
    bound: float = -float("inf")

    def halves(self) -> list[Subdomain]:
        """Both signs of the next ReLU."""
        if self.split is None:
            return []
        source, place = self.split
        halves = []
        for sign in (1.0, -1.0):
            known = self.signs[source].flatten().clone()
            known[place] = sign
            signs = self.signs | {source: known.reshape(self.signs[source].shape)}
            halves.append(Subdomain(self.sample, self.margin, signs, self.choice))
        return halves


@dataclass(frozen=True, eq=False)
class SubdomainBounds:
    """Bounds subdomains of a batch of margins, whatever sample they belong to.

    The known signs are constraints, whose multipliers are optimised with the slopes (Wang et
    al., 2021).

    Attributes:
        case: The margins, with intervals of hidden neurons.
        plan: How long each is optimised.
    """

    case: MarginBatch
    plan: AlphaCrown

    def whole(self, margin: int) -> Subdomain:
        """All images of a margin's sample."""
        signs = {
            source: torch.zeros_like(self._known.intervals[source].low[0])
            for source in self._sources()
        }
        return Subdomain(int(self.case.rows[margin]), margin, signs, OptimizedParameters({}))

    def at_a_time(self) -> int:
        """Subdomains of one pass, by memory."""
        return chunk(self.case.graph, self.case.best)

    @property
    def _known(self) -> StepBounds:
        if self.case.bounds is None:
            raise TypeError("margins without intervals")
        return self.case.bounds

    def _sources(self) -> list[int]:
        steps = self.case.graph.steps
        return [
            source
            for source, users in self.case.graph.inputs_of_nonlinear.items()
            if any(isinstance(steps[user].operation, LeakyRectifier) for user in users)
        ]

    def bound(self, domains: list[Subdomain]) -> Tensor:
        """Bound subdomains, and choose the ReLU that each splits next; both are entered.

        Returns:
            Where the linear bound of each is least, shape (subdomains, c, h, w).
        """
        graph, device = self.case.graph, self.case.best.device
        rows = torch.arange(len(domains), device=device)
        samples = torch.tensor([domain.sample for domain in domains], device=device)
        a = self.case.coefficients(torch.tensor([at.margin for at in domains], device=device))
        region = self.case.region.part(samples)
        signs = {
            source: torch.stack([domain.signs[source] for domain in domains])
            for source in domains[0].signs
        }
        known = self._known.part(samples)
        known.intervals = [
            _cut(interval, signs.get(number)) for number, interval in enumerate(known.intervals)
        ]
        remake = crown_intervals if graph.size <= _SMALL else propagate
        bounds = remake(graph, region, known)
        empty = _empty(bounds)
        choice = self._begin(bounds, region, domains, signs, rows, a)
        best, kept = optimized_bounds(graph, bounds, region, rows, a, choice, self.plan)
        leaves = (self._closed(bounds, best) & (best <= 0) & ~empty).nonzero()[:, 0]
        if len(leaves):
            longer = AlphaCrown(self.plan.steps * _AT_LEAVES, self.plan.rate)
            own = kept.mapped(lambda tensor: tensor[leaves])
            again, _ = optimized_bounds(graph, bounds, region, leaves, a[leaves], own, longer)
            best[leaves] = torch.maximum(best[leaves], again)
        tuning = kept.tuning()
        tuning.seen = {}
        last = len(graph.steps) - 1
        _, image = crown_lower_bound(graph, bounds, region, last, rows, a, tuning)
        best = torch.where(empty, torch.full_like(best, torch.inf), best)
        splits = self._splits(bounds, tuning.seen, kept, rows)
        for row, (domain, bound) in enumerate(zip(domains, best.tolist(), strict=True)):
            own = kept.mapped(lambda tensor, row=row: tensor[row : row + 1])  # type: ignore[misc]
            domain.choice, domain.split, domain.bound = own, splits[row], bound
        return region.where_least(image, rows)

    def _begin(
        self,
        bounds: StepBounds,
        region: Region,
        domains: list[Subdomain],
        signs: dict[int, Tensor],
        rows: Tensor,
        a: Tensor,
    ) -> OptimizedParameters:
        """Start from the parameters of the parent subdomain."""
        choice = initial_parameters(self.case.graph, bounds, rows)
        units = self._units(bounds, region, signs, rows, a)
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
        self,
        bounds: StepBounds,
        region: Region,
        signs: dict[int, Tensor],
        rows: Tensor,
        a: Tensor,
    ) -> dict[int, Tensor]:
        """The scale of coefficients where multipliers are added, so that one rate fits all."""
        tuning = BoundParameters(seen={})
        graph, last = self.case.graph, len(self.case.graph.steps) - 1
        crown_lower_bound(graph, bounds, region, last, rows, a, tuning)
        units = {}
        for source, sign in signs.items():
            users = graph.inputs_of_nonlinear[source]
            seen = [tuning.seen[user] for user in users if tuning.seen and user in tuning.seen]
            size = torch.stack([weight.abs().flatten(1).amax(1) for weight in seen]).amax(0)
            units[source] = size.clamp_min(1e-6).reshape(-1, *[1] * (sign.ndim - 1))
        return units

    def _free(self, bounds: StepBounds) -> dict[int, Tensor]:
        """ReLU -> where it is unstable, shape (rows, ...)."""
        unstable = {}
        for users in self.case.graph.inputs_of_nonlinear.values():
            for user in users:
                if isinstance(self.case.graph.steps[user].operation, LeakyRectifier):
                    lines = bounds.relaxation(self.case.graph, user)
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
            source = self.case.graph.steps[user].sources[0]
            given = bounds.intervals[source]
            lines = bounds.relaxation(self.case.graph, user)
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
