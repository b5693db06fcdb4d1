"""C&W L-inf: the smallest perturbation, by lowering a ceiling on the change of each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from tempering.attacks.active_set import run_active_set
from tempering.attacks.base import Problem
from tempering.attacks.descent import Descent
from tempering.attacks.nearest import Nearest, NearestAttack
from tempering.attacks.steps import check_count, check_positive
from tempering.core.goals import margin
from tempering.core.probe import Probe
from tempering.core.threats import Threat

_LOWER, _LEAST = 0.3, 0.01
"""Share by which the ceiling lies below the nearest success: at first, and at the end."""
_STRIDE = 0.2
"""Longest step, as a share of the ceiling."""
_WINDOW, _STALLED = 20, 0.98
"""Steps between two checks, and the smallest ratio of the objective that counts as a stall."""
_CUT, _SETTLED = 0.2, 0.05
"""Factor of the step size at a stall, and the share of the first step size that ends a search."""
_LARGER = 10.0
"""Factor of the first const after a failed search."""
_FLAT = 1e-30
"""Gradient below which a margin counts as flat."""


@dataclass(frozen=True)
class CWLinfNearest(NearestAttack):
    """Minimize const * max(0, -margin) + sum_i max(0, |delta_i| - ceiling), by Adam.

    Carlini and Wagner, 'Towards evaluating the robustness of neural networks', 2017,
    section VI-C: the ceiling lies below the nearest success so far, each search continues
    from the end of the last one, and const grows after a failure. Unlike theirs, the
    ceiling is bisected: it starts at 0.7 of the nearest success, and the difference is
    halved after two consts have failed. Without any success all iterations are spent on
    the first search. Pixels are kept in bounds by projection, as in `cw-l2`.

    Attributes:
        iterations: Adam steps per sample at most.
        learning_rate: Adam's first step in each search, in pixel units; at most a fifth of
            the ceiling.
        initial_const: First const, relative to the largest gradient of the margin so far.
    """

    name: ClassVar[str] = "cw-linf-nearest"
    norms: ClassVar[tuple[str, ...]] = ("linf",)
    source: ClassVar[str] = "Carlini and Wagner, 2017"
    cost: ClassVar[str] = "iterations x (forward + backward)"

    iterations: int = 2000
    learning_rate: float = 0.005
    initial_const: float = 0.3

    def __post_init__(self) -> None:
        check_count(self.name, "iterations", self.iterations)
        check_positive(self.name, "learning_rate", self.learning_rate)
        check_positive(self.name, "initial_const", self.initial_const)

    def search(self, probe: Probe, problem: Problem) -> Tensor:
        """All searches; each sample proceeds at its own pace."""
        nearest = Nearest.start(problem.x)
        run_active_set(
            problem,
            torch.arange(len(problem.x), device=problem.x.device),
            lambda ids: _CWLinfState.start(ids, problem.x[ids], problem.threat, self),
            lambda rows: self._step(probe, problem, rows, nearest),
            lambda _: None,
        )
        return nearest.x_adv

    def _step(
        self, probe: Probe, problem: Problem, rows: _CWLinfState, nearest: Nearest
    ) -> Tensor | None:
        """One step of Adam; which samples are finished."""
        seen: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            gap = margin(logits, problem.protected(logits, rows.ids))
            seen.append(gap.detach())
            return gap

        _, gradient = probe.gradient(rows.x_adv, loss, problem.streams.index[rows.ids])
        gap = seen[0].to(rows.x.dtype)
        steepest = gradient.flatten(1).abs().amax(1)
        rows.slope = rows.slope.maximum(steepest)
        price = torch.where(gap > 0, 0.0, rows.const / rows.slope.clamp_min(_FLAT))
        delta = rows.x_adv - rows.x
        change = delta.abs()
        above = (change - rows.ceiling[:, None, None, None]).clamp_min_(0.0)
        nearest.update(rows.ids, rows.x_adv, change.flatten(1).amax(1), gap > 0)
        rows.move(delta.sign_() * (above > 0) - gradient * price[:, None, None, None])
        rows.done = rows.done + 1
        total = above.flatten(1).sum(1) - gap * price
        best = nearest.distance[rows.ids]
        left = self._next_ceiling(rows, best, total)
        left |= (rows.done >= self.iterations) | (best.isinf() & (rows.slope == 0))
        return left if bool(left.any()) else None

    def _next_ceiling(self, rows: _CWLinfState, best: Tensor, total: Tensor) -> Tensor:
        """Lower the ceiling of samples below it; raise it where both consts have failed."""
        below = best <= rows.ceiling
        due = ~below & best.isfinite() & (rows.step % _WINDOW == 0)
        stalled = rows.stalled(due, total, _STALLED, _CUT)
        failed = stalled & (rows.rate <= _SETTLED * self._rate(rows.ceiling))
        retry = failed & (rows.const < 2 * self.initial_const)
        beaten = failed & ~retry
        rows.lower = torch.where(beaten, rows.lower / 2, rows.lower)
        rows.ceiling = torch.where(below | beaten, best * (1 - rows.lower), rows.ceiling)
        rows.const = torch.where(retry, _LARGER * rows.const, rows.const)
        rows.const = rows.const.masked_fill(beaten, self.initial_const)
        rows.reset(below | failed, self._rate(rows.ceiling))
        return (best == 0) | (beaten & (rows.lower < _LEAST))

    def _rate(self, ceiling: Tensor) -> Tensor:
        return (_STRIDE * ceiling).clamp_max(self.learning_rate)


@dataclass
class _CWLinfState(Descent):
    """The state of searches.

    Attributes:
        done: Steps in all.
        const: Weight of the margin loss, times `slope`.
        slope: Largest gradient of the margin so far.
        ceiling: Change of a pixel that is not penalized.
        lower: Share by which the ceiling lies below the nearest success.
    """

    done: Tensor
    const: Tensor
    slope: Tensor
    ceiling: Tensor
    lower: Tensor

    @classmethod
    def start(cls, ids: Tensor, x: Tensor, threat: Threat, attack: CWLinfNearest) -> Self:
        """At the images, with a ceiling that no change exceeds."""
        ones = x.new_ones(len(x))
        return cls.at(
            ids,
            x,
            threat,
            attack.learning_rate,
            done=torch.zeros_like(ids),
            const=ones * attack.initial_const,
            slope=torch.zeros_like(ones),
            ceiling=ones,
            lower=ones * _LOWER,
        )
