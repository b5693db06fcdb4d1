"""C&W L2: the smallest perturbation that fools, by a search over the price of distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.adam import Adam
from tempering.attacks.base import Problem
from tempering.attacks.nearest import BatchedNearestAttack, Nearest
from tempering.core.errors import UsageError
from tempering.core.goals import margin
from tempering.core.probe import Probe

_CHECKS, _WINDOW = 20, 10
"""How often a search looks back at most, and the fewest steps between."""
_CUT, _SETTLED = 0.1, 0.05
"""What a step shrinks to where it gains nothing, and the share of the first that ends a search."""
_CONST_LIMIT = 1e10
_GAIN, _PATIENCE = 0.002, 3
"""Share of the squared distance that a search must gain, and how many in a row may not."""


@dataclass(frozen=True)
class CWL2(BatchedNearestAttack):
    """Minimise |delta|^2 + const * max(0, confidence - margin), by Adam, for a bisected const.

    Carlini and Wagner, 'Towards evaluating the robustness of neural networks', 2017,
    section VI-A. Pixels are kept in the box by projection (their section V-B, 1), not
    by tanh: at 0 and 1, where most pixels of a digit lie, tanh has no slope to start
    from. Adam's step is cut where it only swings to and fro over the border: otherwise
    the last step's length is the precision, and near images lose a fifth. Each sample
    has its own const, step, best and end, so the result does not depend on the batch.

    Attributes:
        searches: Bisections of const.
        iterations: Adam steps in each.
        learning_rate: Adam's first step, in pixel units.
        confidence: Margin that counts as success while optimising, in logits.
        initial_const: First const.
        abort_early: Whether a sample ends a search once shorter steps gain nothing either, and
            all searches once three in a row have not brought it nearer by a thousandth.
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
            if not 0 < getattr(self, field) < math.inf:
                raise UsageError(f"cw-l2: {field} = {getattr(self, field)}: give more than 0")

    def descend(self, probe: Probe, problem: Problem) -> Tensor:
        """All searches for one batch."""
        nearest = Nearest.start(problem.x)
        low = torch.zeros(len(problem.x), device=problem.x.device, dtype=torch.float64)
        high = torch.full_like(low, _CONST_LIMIT)
        const = torch.full_like(low, self.initial_const)
        rows = torch.arange(len(problem.x), device=problem.x.device)
        idle = torch.zeros_like(rows)
        for _ in range(self.searches):
            before = nearest.distance.clone()
            fooled = self._minimise(probe, problem, rows, const, nearest)
            high = torch.where(fooled, const, high)
            low = torch.where(fooled, low, const)
            const = torch.where(high < _CONST_LIMIT, (low + high) / 2, const * 10)
            gained = nearest.distance < (1 - _GAIN) * before
            idle = torch.where(gained | nearest.distance.isinf(), 0, idle + 1)
            if self.abort_early:
                rows = rows[idle[rows] < _PATIENCE]
            if not len(rows):
                break
        return nearest.x_adv

    def _minimise(
        self, probe: Probe, problem: Problem, rows: Tensor, const: Tensor, nearest: Nearest
    ) -> Tensor:
        """One run of Adam for some rows; which of all were fooled where it settled.

        Momentum carries a sample over the border even where const is too small to keep
        it there; such a fluke counts as a find, but not as a reason to lower const.
        """
        here, x = rows, problem.x[rows]
        x_adv, adam = x.clone(), Adam.start(x)
        lately = torch.zeros(len(problem.x), dtype=torch.bool, device=x.device)
        fooled = lately.clone()
        previous = torch.full_like(nearest.distance, torch.inf)
        rate = torch.full_like(previous, self.learning_rate)
        check = min(self.iterations, max(_WINDOW, self.iterations // _CHECKS))
        for step in range(1, self.iterations + 1):
            logits, gradient, lack = self._evaluate(probe, problem, here, x_adv, const[here])
            delta = x_adv - x
            squared = delta.flatten(1).square().sum(1)
            success = self._success(problem, here, logits)
            lately[here] |= success
            nearest.update(here, x_adv, squared, success)
            if step % check == 0:
                fooled[here] = lately[here]
                lately[here] = False
                total = squared + lack
                rate[here[total >= 0.9999 * previous[here]]] *= _CUT
                previous[here] = total
                going = rate[here] > _SETTLED * self.learning_rate
                if self.abort_early and not bool(going.all()):
                    here, x, x_adv = here[going], x[going], x_adv[going]
                    gradient, delta = gradient[going], delta[going]
                    adam.keep(going)
                if not len(here):
                    break
            down = adam.descend(gradient + 2 * delta, rate[here][:, None, None, None])
            x_adv = (x_adv + down).clamp(0.0, 1.0)
        return fooled

    def _evaluate(
        self, probe: Probe, problem: Problem, rows: Tensor, x_adv: Tensor, const: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, the gradient of the weighted lack of margin, and that lack."""
        lacks: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            protected = problem.protected(logits, rows)
            lack = (self.confidence - margin(logits, protected)).clamp_min(0.0)
            lacks.append((const.to(lack.dtype) * lack).detach())
            return const.to(lack.dtype) * lack

        logits, gradient = probe.gradient(x_adv, loss, problem.draws.index[rows])
        return logits, gradient, lacks[0].to(x_adv.dtype)

    def _success(self, problem: Problem, rows: Tensor, logits: Tensor) -> Tensor:
        protected = problem.protected(logits, rows)
        gap = margin(logits, protected)
        return gap >= self.confidence if self.confidence > 0 else gap > 0
