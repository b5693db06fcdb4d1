"""DeepFool: step after step onto the nearest linearised boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet, run_active_set
from tempering.attacks.base import Problem
from tempering.attacks.boundaries import Boundaries, rivals
from tempering.attacks.hyperplanes import shortest_way
from tempering.attacks.nearest import NearestAttack
from tempering.attacks.steps import check_count
from tempering.core.errors import UsageError
from tempering.core.probe import Probe

_SHARE = 0.6
"""How much of the linearised way a step goes, the last one aside."""


@dataclass(frozen=True)
class DeepFool(NearestAttack):
    """Go to the nearest boundary of the linearised model, and again, until it is crossed.

    Moosavi-Dezfooli, Fawzi and Frossard, 'DeepFool: a simple and accurate method to fool
    deep neural networks', 2016, algorithm 2 and section 3.3. The paper knows no box; here
    each way is the shortest within it, so that saturated pixels cost nothing. Where many
    pixels cannot move, the others have far to go, beyond where the linear picture holds,
    so a step closes 0.6 of the gap, and only the last that is left closes all of it, as
    the paper's do. The overshoot then crosses what remains: on a linear model the end is
    no further than the overshoot beyond the optimum.

    Attributes:
        steps: Linearisations a sample at most.
        overshoot: How much further than to the boundary, as a share of the whole way.
        rivals: How many of the likeliest other outputs are looked at.
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
        """Walk until fooled; the image itself where that never happened."""
        out = problem.x.clone()

        def leave(rows: _Walkers) -> None:
            out[rows.ids] = torch.where(rows.fooled[:, None, None, None], rows.x_adv, rows.x)

        run_active_set(
            problem,
            torch.arange(len(out), device=out.device),
            lambda ids: self._enter(problem, ids),
            lambda rows: self._advance(probe, problem, rows),
            leave,
        )
        return out

    def _enter(self, problem: Problem, ids: Tensor) -> _Walkers:
        x = problem.x[ids]
        done = torch.zeros(len(ids), dtype=torch.int64, device=x.device)
        fooled = torch.zeros(len(ids), dtype=torch.bool, device=x.device)
        return _Walkers(ids, x, x, x, problem.y[ids], problem.streams.index[ids], done, fooled)

    def _advance(self, probe: Probe, problem: Problem, rows: _Walkers) -> Tensor | None:
        def protect(logits: Tensor) -> Tensor:
            return problem.goal.protected(rows.y, logits.shape[1])

        seen = Boundaries.around(probe, rows.x_adv, protect, rivals(self.rivals), rows.index)
        gap, normal = seen.nearest(problem.threat)
        # the walk goes on from where it was before it overshot
        here = gap + (normal * (rows.base - rows.x_adv)).flatten(1).sum(1)
        rows.done = rows.done + 1
        finished = rows.done >= self.steps
        need = (-here).clamp_min(0.0) * torch.where(finished, 1.0, _SHARE).to(here.dtype)
        way = shortest_way(problem.threat, rows.base, normal, need)
        base = (rows.base + way).clamp(0.0, 1.0)
        far = (rows.x + (1 + self.overshoot) * (base - rows.x)).clamp(0.0, 1.0)
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

    def label(self) -> str:
        """The name with its steps, such as `deepfool-50`."""
        return f"{self.name}-{self.steps}"


@dataclass
class _Walkers(ActiveSet):
    x: Tensor
    base: Tensor
    x_adv: Tensor
    y: Tensor
    index: Tensor
    done: Tensor
    fooled: Tensor
