"""C&W L2: the smallest adversarial perturbation, by a search over the trade-off constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from tempering.attacks.active_set import run_active_set
from tempering.attacks.base import Problem
from tempering.attacks.descent import Descent
from tempering.attacks.nearest import Nearest, NearestAttack
from tempering.core.errors import UsageError
from tempering.core.goals import margin
from tempering.core.probe import Probe
from tempering.core.threats import Threat

_CHECKS, _WINDOW = 40, 25
"""Most checks of a search, and the fewest steps between two checks."""
_CUT, _SETTLED = 0.1, 0.05
"""Factor of the step size at a stall, and the share of the first step size that ends a search."""
_STALLED = 0.9999
"""Smallest ratio of the objective at two checks that counts as a stall."""
_CONST_LIMIT = 1e10
_COARSE, _TIGHT = 2.0, 1.1
"""Ratios to the largest const that failed: above the first a search need not be precise; below
the second the smallest const that succeeded ends all searches."""
_GAIN, _PATIENCE = 0.002, 3
"""Relative gain in squared distance that counts, and how many searches may pass without one."""


@dataclass(frozen=True)
class CWL2(NearestAttack):
    """Minimize |delta|^2 + const * max(0, confidence - margin), by Adam, for a bisected const.

    Carlini and Wagner, 'Towards evaluating the robustness of neural networks', 2017,
    section VI-A. Pixels are kept in bounds by projection (their section V-B, 1), not
    by tanh, whose gradient vanishes at 0 and 1. The step size is cut when the iteration
    oscillates around the boundary. A search that follows one without success continues
    from its end. Each sample has its own const, step size and end, and starts its next
    search without waiting for others, so the result does not depend on the batch.

    Attributes:
        searches: Bisections of const.
        iterations: Adam steps in each.
        learning_rate: Adam's first step, in pixel units.
        confidence: Margin that counts as success during optimization, in logits.
        initial_const: First const.
        abort_early: Whether a search ends when progress stalls, and all searches when const
            is known to a tenth or three searches in a row bring no gain. False for all
            iterations of all searches.
    """

    name: ClassVar[str] = "cw-l2"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    source: ClassVar[str] = "Carlini and Wagner, 2017"
    cost: ClassVar[str] = "searches x iterations x (forward + backward)"

    searches: int = 9
    iterations: int = 1000
    learning_rate: float = 0.01
    confidence: float = 0.0
    initial_const: float = 0.01
    abort_early: bool = True

    def __post_init__(self) -> None:
        for field, least in (("searches", 1), ("iterations", 1), ("confidence", 0)):
            if not least <= getattr(self, field) < math.inf:
                raise UsageError(f"cw-l2: {field} = {getattr(self, field)}: give at least {least}")
        for field in ("learning_rate", "initial_const"):
            if not 0 < getattr(self, field) <= _CONST_LIMIT:
                raise UsageError(
                    f"cw-l2: {field} = {getattr(self, field)}: give more than 0, at most "
                    f"{_CONST_LIMIT:g}"
                )

    def search(self, probe: Probe, problem: Problem) -> Tensor:
        """All searches; each sample proceeds at its own pace."""
        nearest = Nearest.start(problem.x)

        def enter(ids: Tensor) -> _CWL2State:
            return _CWL2State.start(
                ids, problem.x[ids], problem.threat, self.initial_const, self.learning_rate
            )

        def advance(rows: _CWL2State) -> Tensor | None:
            ended = self._step(probe, problem, rows, nearest)
            if not bool(ended.any()):
                return None
            left = self._next_search(rows, ended, nearest)
            return left if bool(left.any()) else None

        rows_of_all = torch.arange(len(problem.x), device=problem.x.device)
        run_active_set(problem, rows_of_all, enter, advance, lambda _: None)
        return nearest.x_adv

    def _step(self, probe: Probe, problem: Problem, rows: _CWL2State, nearest: Nearest) -> Tensor:
        """One step of Adam; which rows end their search.

        Momentum may carry a sample over the boundary although const is too small to keep
        it there; that counts as a success, but not as a reason to lower const.
        """
        logits, gradient, lack = self._evaluate(probe, problem, rows)
        delta = rows.x_adv - rows.x
        squared = delta.flatten(1).square().sum(1)
        success = self._success(problem, rows, logits)
        nearest.update(rows.ids, rows.x_adv, squared, success)
        rows.lately = rows.lately | success
        step = rows.step + 1
        ended = step >= self.iterations
        due = ended | (step % max(_WINDOW, self.iterations // _CHECKS) == 0)
        if bool(due.any()):
            ended |= self._check(rows, due, squared + lack)
        rows.move(delta.mul_(2).add_(gradient))
        return ended | (nearest.distance[rows.ids] == 0)

    def _check(self, rows: _CWL2State, due: Tensor, total: Tensor) -> Tensor:
        """Cut step sizes without progress where a check is due; which rows end their search."""
        stalled = rows.stalled(due, total, _STALLED, _CUT)
        rows.fooled = torch.where(due, rows.lately, rows.fooled)
        rows.lately = rows.lately & ~due
        if not self.abort_early:
            return torch.zeros_like(due)
        coarse = (rows.low > 0) & (rows.const > _COARSE * rows.low)
        coarse &= rows.number + 1 < self.searches
        settled = rows.rate <= _SETTLED * self.learning_rate
        return settled | (stalled & (coarse | ~rows.fooled))

    def _next_search(self, rows: _CWL2State, ended: Tensor, nearest: Nearest) -> Tensor:
        """Bisect const where a search has ended and start the next; which rows are finished."""
        rows.high = torch.where(ended & rows.fooled, rows.const, rows.high)
        rows.low = torch.where(ended & ~rows.fooled, rows.const, rows.low)
        middle = (rows.low + rows.high) / 2
        larger = (rows.const * 10).clamp_max(_CONST_LIMIT)
        const = torch.where(rows.high.isfinite(), middle, larger)
        rows.const = torch.where(ended, const, rows.const)
        distance = nearest.distance[rows.ids]
        gained = (distance < (1 - _GAIN) * rows.before) | distance.isinf()
        idle = torch.where(gained, 0, rows.idle + 1)
        rows.idle = torch.where(ended, idle, rows.idle)
        rows.number = rows.number + ended
        rows.next_search(ended, distance, self.learning_rate)
        left = (rows.number >= self.searches) | (distance == 0)
        if self.abort_early:
            left |= (rows.idle >= _PATIENCE) | (rows.high < _TIGHT * rows.low)
        return left

    def _evaluate(
        self, probe: Probe, problem: Problem, rows: _CWL2State
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, the gradient of the weighted margin loss, and that loss."""
        lacks: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            protected = problem.protected(logits, rows.ids)
            lack = (self.confidence - margin(logits, protected)).clamp_min(0.0)
            lacks.append(lack.detach())
            return lack  # const is applied afterwards: it may overflow in half precision

        logits, gradient = probe.gradient(rows.x_adv, loss, problem.streams.index[rows.ids])
        const = rows.const.to(gradient.dtype)
        return logits, gradient * const[:, None, None, None], const * lacks[0].to(const.dtype)

    def _success(self, problem: Problem, rows: _CWL2State, logits: Tensor) -> Tensor:
        gap = margin(logits, problem.protected(logits, rows.ids))
        return gap >= self.confidence if self.confidence > 0 else gap > 0


@dataclass
class _CWL2State(Descent):
    """The state of searches.

    Attributes:
        lately: Whether a point has succeeded since the last check.
        fooled: Whether one had succeeded between the two checks before.
        const: Weight of the margin loss in this search, float64.
        low: Largest const that has failed, float64.
        high: Smallest const that has succeeded, float64; infinite if none has.
        number: Number of searches ended.
        idle: Number of searches in a row without a gain.
        before: Squared distance of the nearest success before this search.
    """

    lately: Tensor
    fooled: Tensor
    const: Tensor
    low: Tensor
    high: Tensor
    number: Tensor
    idle: Tensor
    before: Tensor

    @classmethod
    def start(cls, ids: Tensor, x: Tensor, threat: Threat, const: float, rate: float) -> Self:
        """At the images, before the first search."""
        never, none = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids)
        zero = torch.zeros_like(ids, dtype=torch.float64)
        return cls.at(
            ids,
            x,
            threat,
            rate,
            lately=never,
            fooled=never,
            const=zero + const,
            low=zero,
            high=zero + torch.inf,
            number=none,
            idle=none,
            before=x.new_full((len(x),), torch.inf),
        )

    def next_search(self, new: Tensor, distance: Tensor, rate: float) -> None:
        """Reset the rows whose search has ended; a failed search continues from its end.

        To be called after const has been updated, since the result of the search is
        forgotten here.
        """
        back = (new & self.fooled)[:, None, None, None]
        self.x_adv = torch.where(back, self.x, self.x_adv)
        self.reset(new, rate)
        self.before = torch.where(new, distance, self.before)
        self.lately = self.lately & ~new
        self.fooled = self.fooled & ~new
