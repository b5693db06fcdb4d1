"""HopSkipJump: a gradient out of labels alone, at the decision boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.ahead import ahead
from tempering.attacks.approach import approach, clear
from tempering.attacks.asking import Oracle
from tempering.attacks.base import Problem
from tempering.attacks.decision import DecisionAttack
from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams

_HALVINGS = 25
"""Times that a step is cut in half before a sample waits for its next estimate."""
_COARSEST = 0.01
"""Share of the distance at which a binary search ends at the latest, however small an image."""
_CLEAR = 1
"""Queries kept back for the end: a point clear of the boundary."""
_LAST = 1.5
"""Times its share of labels up to which an estimate takes all that are left."""


@dataclass(frozen=True)
class HopSkipJump(DecisionAttack):
    """Walk along the decision boundary, by directions estimated from labels around it.

    Chen, Jordan and Wainwright, 'HopSkipJumpAttack: a query-efficient decision-based
    attack', 2020, algorithms 1 and 2. The paper has a first estimate of 100 and a
    precision of 1; half and ten times as much, together, came nearer in L2 on validation
    digits of MNIST, two networks, 1,782 queries. The last estimate takes the queries that
    would not make another round, and the nearest point of the walk is kept.

    Attributes:
        first_estimate: Labels asked for in the first estimate; they grow with the root
            of the iteration.
        precision: The paper's gamma: 1 or more; a larger one stops binary searches earlier,
            and looks around a point in a wider circle.
    """

    name: ClassVar[str] = "hopskipjump"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    source: ClassVar[str] = "Chen, Jordan and Wainwright, 2020"
    cost: ClassVar[str] = "up to 10,000 forward passes a sample"

    first_estimate: int = 50
    precision: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.first_estimate, int) and self.first_estimate >= 1):
            raise UsageError(f"hopskipjump: first_estimate = {self.first_estimate}: give 1 or more")
        if not 1 <= self.precision < math.inf:
            raise UsageError(f"hopskipjump: precision = {self.precision}: give at least 1")

    def walk(self, oracle: Oracle, problem: Problem, x_adv: Tensor, rows: Tensor) -> None:
        """Estimate, step, and go back to the boundary, again and again; end clear of it."""
        walk = _Walk(self, oracle, problem)
        everyone = rows
        oracle.keep_back(_CLEAR)
        x_adv[rows] = approach(oracle, problem, x_adv[rows], rows, walk.precision)
        at, time = x_adv.clone(), 0
        while len(rows := walk.able(self.going(oracle, problem, x_adv, rows))):
            time += 1
            at[rows] = walk.advance(at[rows], rows, time)
            nearer = rows[walk.distance(at[rows], rows) < walk.distance(x_adv[rows], rows)]
            x_adv[nearer] = at[nearer]
        oracle.keep_back(0)
        x_adv[everyone] = clear(oracle, problem, x_adv[everyone], everyone, walk.precision)


class _Walk:
    """One walk along the boundary, for all samples side by side."""

    def __init__(self, attack: HopSkipJump, oracle: Oracle, problem: Problem) -> None:
        self.attack, self.oracle, self.problem = attack, oracle, problem
        self.straight = problem.threat.name == "l2"
        self.size = problem.x[0].numel()
        power = 1.5 if self.straight else 2.0
        self.precision = min(_COARSEST, attack.precision / self.size**power)
        self.finish = 1 + math.ceil(-math.log2(self.precision))
        """Queries that a round takes after its estimate: a step, and the way back."""

    def distance(self, x_adv: Tensor, rows: Tensor) -> Tensor:
        return self.problem.threat.distance(x_adv, self.problem.x[rows])

    def able(self, rows: Tensor) -> Tensor:
        """Those of the rows that can finish another round."""
        return rows[self.oracle.left(rows) > self.finish]

    def advance(self, at: Tensor, rows: Tensor, time: int) -> Tensor:
        """Estimate a direction, step along it, and go back to the boundary."""
        away = self.distance(at, rows)
        direction = self._direction(at, rows, away, time)
        moved, stepped = self._step(at, rows, direction, away / math.sqrt(time))
        here = stepped.nonzero()[:, 0]
        out = at.clone()
        out[here] = approach(self.oracle, self.problem, moved[here], rows[here], self.precision)
        return out

    def _counts(self, rows: Tensor, time: int) -> Tensor:
        """Labels to ask for in an estimate; the last one takes what would not make another."""
        wanted = math.ceil(self.attack.first_estimate * math.sqrt(time))
        left = self.oracle.left(rows) - self.finish
        return torch.where(left < _LAST * wanted, left, torch.full_like(left, wanted))

    def _direction(self, at: Tensor, rows: Tensor, away: Tensor, time: int) -> Tensor:
        """Mean of random directions, weighted by whether they fool, less their common share."""
        counts = self._counts(rows, time)
        reach = away * self.precision * self.size ** (0.5 if self.straight else 1.0)
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
            noise, own = self._noise(ahead(streams, numbers), at)[asked], own[asked]
            length = reach[own][:, None, None, None]
            points = (at[own] + length * noise).clamp(0.0, 1.0)
            noise = (points - at[own]) / length
            votes_here = self.oracle.fooled(points, rows[own]).to(at.dtype) * 2 - 1
            total.index_add_(0, own, noise * votes_here[:, None, None, None])
            plain.index_add_(0, own, noise)
            votes.index_add_(0, own, votes_here)
        mean = votes / counts
        agreed = mean.abs() >= 1
        base = torch.where(agreed, torch.zeros_like(mean), mean)[:, None, None, None]
        estimate = total - base * plain
        if not self.straight:
            return estimate.sign()
        return self.problem.threat.ascent(estimate)

    def _noise(self, streams: RandomStreams, like: Tensor) -> Tensor:
        shape = like.shape[1:]
        noise = streams.normal(shape) if self.straight else streams.uniform(shape, -1.0, 1.0)
        length = noise.flatten(1).square().sum(1).sqrt().clamp_min(1e-12)
        return (noise / length[:, None, None, None]).to(like.dtype)

    def _step(
        self, x_adv: Tensor, rows: Tensor, direction: Tensor, length: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Step as far as the image still fools, halving; which rows found such a step."""
        moved = x_adv.clone()
        found = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        length = length.clone()
        for _ in range(_HALVINGS):
            here = ((~found) & (self.oracle.left(rows) > 0)).nonzero()[:, 0]
            if not len(here):
                break
            step = length[here][:, None, None, None] * direction[here]
            tried = (x_adv[here] + step).clamp(0.0, 1.0)
            won = self.oracle.fooled(tried, rows[here])
            moved[here[won]] = tried[won]
            found[here[won]] = True
            length[here[~won]] /= 2
        return moved, found
