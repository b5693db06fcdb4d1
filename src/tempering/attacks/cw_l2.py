"""C&W L2: the smallest perturbation that fools, by a search over the price of distance."""

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

_CHECKS, _WINDOW = 40, 25
"""How often a search looks back at most, and the fewest steps between."""
_CUT, _SETTLED = 0.1, 0.05
"""What a step shrinks to where it gains nothing, and the share of the first that ends a search."""
_STALLED = 0.9999
"""Share of what is minimised that is left if a step gains nothing between two looks."""
_CONST_LIMIT = 1e10
_COARSE, _TIGHT = 2.0, 1.1
"""How many times the largest const that has failed: above, a search need not be precise; and
the smallest const that has fooled is near enough to end all searches."""
_GAIN, _PATIENCE = 0.002, 3
"""Share of the squared distance that a search must gain, and how many in a row may not."""


@dataclass(frozen=True)
class CWL2(NearestAttack):
    """Minimise |delta|^2 + const * max(0, confidence - margin), by Adam, for a bisected const.

    Carlini and Wagner, 'Towards evaluating the robustness of neural networks', 2017,
    section VI-A. Pixels are kept in the box by projection (their section V-B, 1), not
    by tanh: at 0 and 1, where most pixels of a digit lie, tanh has no slope to start
    from. Adam's step is cut where it only swings to and fro over the border: otherwise
    the last step's length is the precision, and near images lose a fifth. A search that
    follows one without success goes on from where that ended. Each sample has its own
    const, step, best and end, and goes on to its next search without waiting for others,
    so the result does not depend on the batch.

    Attributes:
        searches: Bisections of const.
        iterations: Adam steps in each.
        learning_rate: Adam's first step, in pixel units.
        confidence: Margin that counts as success while optimising, in logits.
        initial_const: First const.
        abort_early: Whether a search ends once it gains nothing: after shorter steps too where
            its const is near the one that is looked for, without them elsewhere. And all
            searches, once const is known to a tenth, or three in a row have not brought the
            sample nearer by a thousandth. False for all iterations of all searches.
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
        """All searches; each sample goes on to its next one by itself."""
        nearest = Nearest.start(problem.x)

        def enter(ids: Tensor) -> _Searchers:
            return _Searchers.start(ids, problem.x[ids], self.initial_const, self.learning_rate)

        def advance(rows: _Searchers) -> Tensor | None:
            ended = self._step(probe, problem, rows, nearest)
            if not bool(ended.any()):
                return None
            left = self._next_search(rows, ended, nearest)
            return left if bool(left.any()) else None

        everyone = torch.arange(len(problem.x), device=problem.x.device)
        run_active_set(problem, everyone, enter, advance, lambda _: None)
        return nearest.x_adv

    def _step(self, probe: Probe, problem: Problem, rows: _Searchers, nearest: Nearest) -> Tensor:
        """One step of Adam; which rows end a search with it.

        Momentum carries a sample over the border even where const is too small to keep
        it there; such a fluke counts as a find, but not as a reason to lower const.
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
            ended |= self._look_back(rows, due, squared + lack)
        rows.move(delta.mul_(2).add_(gradient))
        return ended | (nearest.distance[rows.ids] == 0)

    def _look_back(self, rows: _Searchers, due: Tensor, total: Tensor) -> Tensor:
        """Where it is time, shorten steps that gained nothing; which rows need no more."""
        stalled = rows.stalled(due, total, _STALLED, _CUT)
        rows.fooled = torch.where(due, rows.lately, rows.fooled)
        rows.lately = rows.lately & ~due
        if not self.abort_early:
            return torch.zeros_like(due)
        coarse = (rows.low > 0) & (rows.const > _COARSE * rows.low)
        coarse &= rows.number + 1 < self.searches
        settled = rows.rate <= _SETTLED * self.learning_rate
        return settled | (stalled & (coarse | ~rows.fooled))

    def _next_search(self, rows: _Searchers, ended: Tensor, nearest: Nearest) -> Tensor:
        """Bisect const where a search has ended, and begin anew; which rows are through."""
        rows.high = torch.where(ended & rows.fooled, rows.const, rows.high)
        rows.low = torch.where(ended & ~rows.fooled, rows.const, rows.low)
        middle = (rows.low + rows.high) / 2
        dearer = (rows.const * 10).clamp_max(_CONST_LIMIT)
        const = torch.where(rows.high.isfinite(), middle, dearer)
        rows.const = torch.where(ended, const, rows.const)
        distance = nearest.distance[rows.ids]
        gained = (distance < (1 - _GAIN) * rows.before) | distance.isinf()
        idle = torch.where(gained, 0, rows.idle + 1)
        rows.idle = torch.where(ended, idle, rows.idle)
        rows.number = rows.number + ended
        rows.begin(ended, distance, self.learning_rate)
        left = (rows.number >= self.searches) | (distance == 0)
        if self.abort_early:
            left |= (rows.idle >= _PATIENCE) | (rows.high < _TIGHT * rows.low)
        return left

    def _evaluate(
        self, probe: Probe, problem: Problem, rows: _Searchers
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, the gradient of the weighted lack of margin, and that lack."""
        lacks: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            protected = problem.protected(logits, rows.ids)
            lack = (self.confidence - margin(logits, protected)).clamp_min(0.0)
            lacks.append(lack.detach())
            return lack  # without const, which half of the precision could not hold

        logits, gradient = probe.gradient(rows.x_adv, loss, problem.streams.index[rows.ids])
        const = rows.const.to(gradient.dtype)
        return logits, gradient * const[:, None, None, None], const * lacks[0].to(const.dtype)

    def _success(self, problem: Problem, rows: _Searchers, logits: Tensor) -> Tensor:
        gap = margin(logits, problem.protected(logits, rows.ids))
        return gap >= self.confidence if self.confidence > 0 else gap > 0


@dataclass
class _Searchers(Descent):
    """The state of searches.

    Attributes:
        lately: Whether a point has fooled since the last look back.
        fooled: Whether one had before it: whether the search settles on a success.
        const: Price of the lack of margin in this search, float64.
        low: Largest const that has failed, float64.
        high: Smallest const that has fooled, float64; infinite before one has.
        number: Searches ended.
        idle: How many of the last ones gained nothing.
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
    def start(cls, ids: Tensor, x: Tensor, const: float, rate: float) -> Self:
        """At the images, before the first search."""
        never, none = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids)
        zero = torch.zeros_like(ids, dtype=torch.float64)
        return cls.at(
            ids,
            x,
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

    def begin(self, new: Tensor, distance: Tensor, rate: float) -> None:
        """Forget the search that some rows have ended; all but where it failed.

        To be called when const and its bounds are those of the next search, since it
        forgets whether this one fooled.
        """
        back = (new & self.fooled)[:, None, None, None]
        self.x_adv = torch.where(back, self.x, self.x_adv)
        self.anew(new, rate)
        self.before = torch.where(new, distance, self.before)
        self.lately = self.lately & ~new
        self.fooled = self.fooled & ~new
