"""HopSkipJump: gradients estimated from labels at the decision boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.boundary_search import search_boundary, step_past_boundary
from tempering.attacks.decision import DecisionAttack
from tempering.attacks.query_oracle import QueryOracle
from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams

_HALVINGS = 25
"""How often a step is halved before a sample waits for its next estimate."""
_COARSEST = 0.01
"""Largest share of the distance at which a binary search ends, for small images."""
_RESERVED = 1
"""Queries reserved for the last step, away from the boundary."""
_LAST = 1.5
"""An estimate takes all queries left if those are less than this many times its own."""


@dataclass(frozen=True)
class HopSkipJump(DecisionAttack):
    """Steps along the decision boundary in directions estimated from labels.

    Chen, Jordan and Wainwright, 'HopSkipJumpAttack: a query-efficient decision-based
    attack', 2020, algorithms 1 and 2. The defaults differ from the
    paper's first estimate of 100 and precision of 1. The last estimate takes the queries
    that do not suffice for another round, and the nearest point is kept.

    Attributes:
        first_estimate: Queries of the first estimate; they grow with the square root of
            the iteration.
        precision: The paper's gamma, at least 1; a larger one stops binary searches
            earlier and samples around a point at a larger distance.
    """

    name: ClassVar[str] = "hopskipjump"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    source: ClassVar[str] = "Chen, Jordan and Wainwright, 2020"
    cost: ClassVar[str] = "queries x forward"

    first_estimate: int = 50
    precision: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.first_estimate, int) and self.first_estimate >= 1):
            raise UsageError(f"hopskipjump: first_estimate = {self.first_estimate}: give 1 or more")
        if not 1 <= self.precision < math.inf:
            raise UsageError(f"hopskipjump: precision = {self.precision}: give at least 1")

    def minimize(self, oracle: QueryOracle, problem: Problem, x_adv: Tensor, rows: Tensor) -> None:
        """Estimate, step and return to the boundary, repeatedly; end slightly past it."""
        run = _BoundaryRun(self, oracle, problem)
        start_rows = rows
        oracle.reserve(_RESERVED)
        x_adv[rows] = search_boundary(oracle, problem, x_adv[rows], rows, run.precision)
        at, time = x_adv.clone(), 0
        while len(rows := run.able(self.unfinished(oracle, problem, x_adv, rows))):
            time += 1
            at[rows] = run.advance(at[rows], rows, time)
            nearer = rows[run.distance(at[rows], rows) < run.distance(x_adv[rows], rows)]
            x_adv[nearer] = at[nearer]
        oracle.reserve(0)
        x_adv[start_rows] = step_past_boundary(
            oracle, problem, x_adv[start_rows], start_rows, run.precision
        )


class _BoundaryRun:
    """The iterations of all samples."""

    def __init__(self, attack: HopSkipJump, oracle: QueryOracle, problem: Problem) -> None:
        self.attack, self.oracle, self.problem = attack, oracle, problem
        self.is_l2 = problem.threat.norm == "l2"
        self.size = problem.x[0].numel()
        power = 1.5 if self.is_l2 else 2.0
        self.precision = min(_COARSEST, attack.precision / self.size**power)
        self.finish = 1 + math.ceil(-math.log2(self.precision))
        """Queries of a round after its estimate: a step and a binary search."""

    def distance(self, x_adv: Tensor, rows: Tensor) -> Tensor:
        return self.problem.threat.distance(x_adv, self.problem.x[rows]).to(x_adv.dtype)

    def able(self, rows: Tensor) -> Tensor:
        """Those of the rows that have queries for another round."""
        return rows[self.oracle.remaining(rows) > self.finish]

    def advance(self, at: Tensor, rows: Tensor, time: int) -> Tensor:
        """Estimate a direction, step along it, and return to the boundary."""
        away = self.distance(at, rows)
        direction = self._direction(at, rows, away, time)
        moved, stepped = self._step(at, rows, direction, away / math.sqrt(time))
        here = stepped.nonzero()[:, 0]
        out = at.clone()
        out[here] = search_boundary(
            self.oracle, self.problem, moved[here], rows[here], self.precision
        )
        return out

    def _counts(self, rows: Tensor, time: int) -> Tensor:
        """Queries of an estimate; the last one takes those that do not suffice for another."""
        wanted = math.ceil(self.attack.first_estimate * math.sqrt(time))
        left = self.oracle.remaining(rows) - self.finish
        return torch.where(left < _LAST * wanted, left, torch.full_like(left, wanted))

    def _direction(self, at: Tensor, rows: Tensor, away: Tensor, time: int) -> Tensor:
        """Mean of random directions weighted by their labels, with the mean label as baseline."""
        counts = self._counts(rows, time)
        reach = away * self.precision * self.size ** (0.5 if self.is_l2 else 1.0)
        reach = reach.clamp_min(1e-6) if time > 1 else torch.full_like(away, 0.1)
        total, plain = torch.zeros_like(at), torch.zeros_like(at)
        votes = torch.zeros_like(away)
        streams = self.problem.streams[rows].derive("estimate", time)
        block = max(1, self.problem.batch_size // len(rows))
        most = int(counts.max())
        for first in range(0, most, block):
            numbers = range(first, min(first + block, most))
            own = torch.arange(len(rows), device=rows.device).repeat(len(numbers))
            number = torch.arange(first, first + len(numbers), device=rows.device)
            asked = (number.repeat_interleave(len(rows)) < counts[own]).nonzero()[:, 0]
            blocks = RandomStreams.side_by_side([streams.derive(i) for i in numbers])
            noise, own = self._noise(blocks, at)[asked], own[asked]
            length = reach[own][:, None, None, None]
            low, high = self.problem.threat.bounds(self.problem.x[rows[own]])
            points = (at[own] + length * noise).clamp(low, high)
            noise = (points - at[own]) / length
            votes_here = self.oracle.fooled(points, rows[own]).to(at.dtype) * 2 - 1
            total.index_add_(0, own, noise * votes_here[:, None, None, None])
            plain.index_add_(0, own, noise)
            votes.index_add_(0, own, votes_here)
        mean = votes / counts
        agreed = mean.abs() >= 1
        base = torch.where(agreed, torch.zeros_like(mean), mean)[:, None, None, None]
        estimate = total - base * plain
        if not self.is_l2:
            return estimate.sign()
        return self.problem.threat.ascent(estimate)

    def _noise(self, streams: RandomStreams, like: Tensor) -> Tensor:
        shape = like.shape[1:]
        noise = streams.normal(shape) if self.is_l2 else streams.uniform(shape, -1.0, 1.0)
        length = noise.flatten(1).square().sum(1).sqrt().clamp_min(1e-12)
        return (noise / length[:, None, None, None]).to(like.dtype)

    def _step(
        self, x_adv: Tensor, rows: Tensor, direction: Tensor, length: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Halve the step until the image is adversarial; which rows have such a step."""
        moved = x_adv.clone()
        done = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        length = length.clone()
        for _ in range(_HALVINGS):
            here = ((~done) & (self.oracle.remaining(rows) > 0)).nonzero()[:, 0]
            if not len(here):
                break
            step = length[here][:, None, None, None] * direction[here]
            low, high = self.problem.threat.bounds(self.problem.x[rows[here]])
            tried = (x_adv[here] + step).clamp(low, high)
            success = self.oracle.fooled(tried, rows[here])
            moved[here[success]] = tried[success]
            done[here[success]] = True
            length[here[~success]] /= 2
        return moved, done
