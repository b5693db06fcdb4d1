"""HopSkipJump: a gradient out of labels alone, at the decision boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.approach import approach
from tempering.attacks.asking import Oracle
from tempering.attacks.base import Problem
from tempering.attacks.decision import DecisionAttack
from tempering.core.errors import UsageError
from tempering.core.random import Draws

_HALVINGS = 25
"""Times that a step is cut in half before a sample waits for its next estimate."""


@dataclass(frozen=True)
class HopSkipJump(DecisionAttack):
    """Walk along the decision boundary, by directions estimated from labels around it.

    Chen, Jordan and Wainwright, 'HopSkipJumpAttack: a query-efficient decision-based
    attack', 2020, algorithms 1 and 2.

    Attributes:
        first_estimate: Labels asked for in the first estimate; they grow with the root
            of the iteration.
        precision: The paper's gamma: 1 or more; a larger one stops binary searches earlier.
    """

    name: ClassVar[str] = "hopskipjump"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    source: ClassVar[str] = "Chen, Jordan and Wainwright, 2020"
    cost: ClassVar[str] = "up to 10,000 forward passes a sample"

    first_estimate: int = 100
    precision: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.first_estimate, int) and self.first_estimate >= 1):
            raise UsageError(f"hopskipjump: first_estimate = {self.first_estimate}: give 1 or more")
        if not 1 <= self.precision < math.inf:
            raise UsageError(f"hopskipjump: precision = {self.precision}: give at least 1")

    def walk(self, oracle: Oracle, problem: Problem, x_adv: Tensor, rows: Tensor) -> None:
        """Estimate, step, and go back to the boundary, again and again."""
        walk = _Walk(self, oracle, problem)
        x_adv[rows] = approach(oracle, problem, x_adv[rows], rows, walk.precision)
        time = 0
        while len(rows := self.going(oracle, problem, x_adv, rows)):
            time += 1
            x_adv[rows] = walk.advance(x_adv[rows], rows, time)


class _Walk:
    """One walk along the boundary, for all samples side by side."""

    def __init__(self, attack: HopSkipJump, oracle: Oracle, problem: Problem) -> None:
        self.attack, self.oracle, self.problem = attack, oracle, problem
        self.straight = problem.threat.name == "l2"
        self.size = problem.x[0].numel()
        power = 1.5 if self.straight else 2.0
        self.precision = min(0.1, attack.precision / self.size**power)

    def distance(self, x_adv: Tensor, rows: Tensor) -> Tensor:
        return self.problem.threat.distance(x_adv, self.problem.x[rows])

    def advance(self, x_adv: Tensor, rows: Tensor, time: int) -> Tensor:
        """Estimate a direction, step along it, and go back to the boundary."""
        away = self.distance(x_adv, rows)
        direction = self._direction(x_adv, rows, away, time)
        moved, stepped = self._step(x_adv, rows, direction, away / math.sqrt(time))
        here = stepped.nonzero()[:, 0]
        near = approach(self.oracle, self.problem, moved[here], rows[here], self.precision)
        better = self.distance(near, rows[here]) < away[here]
        out = x_adv.clone()
        out[here[better]] = near[better]
        return out

    def _direction(self, x_adv: Tensor, rows: Tensor, away: Tensor, time: int) -> Tensor:
        """Mean of random directions, weighted by whether they fool, less their common share."""
        wanted = math.ceil(self.attack.first_estimate * math.sqrt(time))
        counts = self.oracle.left(rows).clamp_max(wanted)
        reach = away * self.precision * self.size ** (0.5 if self.straight else 1.0)
        reach = reach.clamp_min(1e-6) if time > 1 else torch.full_like(away, 0.1)
        total, plain = torch.zeros_like(x_adv), torch.zeros_like(x_adv)
        votes = torch.zeros_like(away)
        draws = self.problem.draws[rows].to("estimate", time)
        block = max(1, self.problem.batch_size // len(rows))
        for first in range(0, wanted, block):
            numbers = range(first, min(first + block, wanted))
            noise = torch.cat([self._noise(draws.to(number), x_adv) for number in numbers])
            own = torch.arange(len(rows), device=rows.device).repeat(len(numbers))
            number = torch.arange(first, first + len(numbers), device=rows.device)
            asked = (number.repeat_interleave(len(rows)) < counts[own]).nonzero()[:, 0]
            own, noise = own[asked], noise[asked]
            length = reach[own][:, None, None, None]
            points = (x_adv[own] + length * noise).clamp(0.0, 1.0)
            noise = (points - x_adv[own]) / length
            votes_here = self.oracle.fooled(points, rows[own]).to(x_adv.dtype) * 2 - 1
            total.index_add_(0, own, noise * votes_here[:, None, None, None])
            plain.index_add_(0, own, noise)
            votes.index_add_(0, own, votes_here)
        mean = votes / counts.clamp_min(1)
        agreed = mean.abs() >= 1
        base = torch.where(agreed, torch.zeros_like(mean), mean)[:, None, None, None]
        estimate = total - base * plain
        if not self.straight:
            return estimate.sign()
        return self.problem.threat.ascent(estimate)

    def _noise(self, draws: Draws, like: Tensor) -> Tensor:
        shape = like.shape[1:]
        noise = draws.normal(shape) if self.straight else draws.uniform(shape, -1.0, 1.0)
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
