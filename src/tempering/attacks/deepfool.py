"""DeepFool: repeated steps to the nearest linearized boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet, run_active_set
from tempering.attacks.base import Problem
from tempering.attacks.boundaries import LinearBoundaries, top_rivals
from tempering.attacks.hyperplanes import smallest_step
from tempering.attacks.nearest import NearestAttack
from tempering.attacks.steps import check_count
from tempering.core.errors import UsageError
from tempering.core.probe import Probe

_SHARE = 0.6
"""Share of the linearized distance that every step but the last one covers."""


@dataclass(frozen=True)
class DeepFool(NearestAttack):
    """Step to the nearest boundary of the linearized model until the boundary is crossed.

    Moosavi-Dezfooli, Fawzi and Frossard, 'DeepFool: a simple and accurate method to fool
    deep neural networks', 2016, algorithm 2 and section 3.3. Unlike in the paper,
    steps are the smallest within [0, 1]. Where many pixels are at a bound, the others move
    beyond the range of the linear model, so a step closes 0.6 of the gap; the last one
    closes all of it. On a linear model the result is at most the overshoot beyond the
    optimum.

    Attributes:
        steps: Linearizations per sample at most.
        overshoot: Distance beyond the boundary, as a share of the perturbation.
        rivals: Number of the most likely other outputs that are considered.
    """

    name: ClassVar[str] = "deepfool"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    source: ClassVar[str] = "Moosavi-Dezfooli, Fawzi and Frossard, 2016"
    cost: ClassVar[str] = "steps x (forward + rivals x backward) + forward"

    steps: int = 50
    overshoot: float = 0.02
    rivals: int = 5

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_count(self.name, "rivals", self.rivals)
        if not 0 <= self.overshoot < math.inf:
            raise UsageError(f"deepfool: overshoot = {self.overshoot}: give at least 0")

    def search(self, probe: Probe, problem: Problem) -> Tensor:
        """Step until fooled; the image itself where that never happens."""
        out = problem.x.clone()

        def leave(rows: _DeepFoolState) -> None:
            out[rows.ids] = torch.where(rows.fooled[:, None, None, None], rows.x_adv, rows.x)

        run_active_set(
            problem,
            torch.arange(len(out), device=out.device),
            lambda ids: self._enter(problem, ids),
            lambda rows: self._advance(probe, problem, rows),
            leave,
        )
        return out

    def _enter(self, problem: Problem, ids: Tensor) -> _DeepFoolState:
        x = problem.x[ids]
        done = torch.zeros(len(ids), dtype=torch.int64, device=x.device)
        fooled = torch.zeros(len(ids), dtype=torch.bool, device=x.device)
        return _DeepFoolState(
            ids, x, x, x, problem.y[ids], problem.streams.index[ids], done, fooled
        )

    def _advance(self, probe: Probe, problem: Problem, rows: _DeepFoolState) -> Tensor | None:
        def protect(logits: Tensor) -> Tensor:
            return problem.goal.protected(rows.y, logits.shape[1])

        seen = LinearBoundaries.around(
            probe, rows.x_adv, protect, top_rivals(self.rivals), rows.index
        )
        gap, normal = seen.nearest(problem.threat)
        # the next step starts from the point before the overshoot
        here = gap + (normal * (rows.base - rows.x_adv)).flatten(1).sum(1)
        rows.done = rows.done + 1
        finished = rows.done >= self.steps
        need = (-here).clamp_min(0.0) * torch.where(finished, 1.0, _SHARE).to(here.dtype)
        low, high = problem.threat.bounds(rows.x)
        step = smallest_step(problem.threat, rows.base, rows.x, normal, need)
        base = (rows.base + step).clamp(low, high)
        far = (rows.x + (1 + self.overshoot) * (base - rows.x)).clamp(low, high)
        rows.fooled = seen.fooled
        keep = seen.fooled[:, None, None, None]
        rows.base = torch.where(keep, rows.base, base)
        rows.x_adv = torch.where(keep, rows.x_adv, far)
        left = rows.fooled | finished
        if not bool(left.any()):
            return None
        last = (finished & ~rows.fooled).nonzero()[:, 0]
        if len(last):
            logits = probe.logits(rows.x_adv[last], rows.index[last])
            protected = problem.goal.protected(rows.y[last], logits.shape[1])
            rows.fooled[last] = ~protected.gather(1, logits.argmax(1, keepdim=True))[:, 0]
        return left


@dataclass
class _DeepFoolState(ActiveSet):
    x: Tensor
    base: Tensor
    x_adv: Tensor
    y: Tensor
    index: Tensor
    done: Tensor
    fooled: Tensor
