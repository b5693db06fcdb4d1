"""The iteration of FAB along a linearized decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet, run_active_set
from tempering.attacks.base import Problem
from tempering.attacks.boundaries import LinearBoundaries, fixed_target, top_rivals
from tempering.attacks.hyperplanes import smallest_step
from tempering.attacks.nearest import Nearest, only_finite, succeeds
from tempering.core.probe import Probe
from tempering.core.threats import Threat

_PULL = 0.1
"""Largest weight of the step from the image itself (alpha_max)."""
_OVERSHOOT = 1.05
_BACK = 0.9
"""After a success the next point is at this share of the distance from the image (beta)."""


@dataclass(frozen=True)
class FABWalk:
    """Settings of the iteration.

    Croce and Hein, 'Minimally distorted adversarial examples with a fast adaptive
    boundary attack', 2020, algorithm 1, with its constants. The model is linearized once
    per step: after a success, the linearization at the success is used for the point
    moved back towards the image, where the paper takes a new one.

    Attributes:
        steps: Linearizations per sample.
        rivals: Number of outputs that are considered if no target is given.
        until_fooled: Whether a sample leaves once it is fooled within eps.
    """

    steps: int
    rivals: int
    until_fooled: bool

    def run(
        self,
        probe: Probe,
        problem: Problem,
        ids: Tensor,
        nearest: Nearest,
        start: Callable[[Tensor], Tensor] | None = None,
        target: Tensor | None = None,
    ) -> None:
        """Run for some samples of a problem.

        Args:
            probe: The model.
            problem: Samples, threat and goal.
            ids: Samples, shape (m,), int64.
            nearest: The nearest successes of all samples; updated in place.
            start: From row numbers to initial points; by default the images.
            target: The output whose boundary is followed for each sample of the problem,
                shape (n,), int64; None for the nearest boundary at every step.
        """
        empty = torch.zeros_like(problem.y)
        goals = empty if target is None else target

        def enter(rows: Tensor) -> _FABState:
            x, done = problem.x[rows], torch.zeros_like(rows)
            index = problem.streams.index[rows]
            begin = x.clone() if start is None else start(rows)
            return _FABState(rows, x, begin, problem.y[rows], index, goals[rows], done)

        def advance(rows: _FABState) -> Tensor | None:
            choose = top_rivals(self.rivals) if target is None else fixed_target(rows.target)
            return self._advance(probe, problem, rows, nearest, choose)

        run_active_set(problem, ids, enter, advance, lambda _: None)

    def _advance(
        self,
        probe: Probe,
        problem: Problem,
        rows: _FABState,
        nearest: Nearest,
        choose: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor | None:
        def protect(logits: Tensor) -> Tensor:
            return problem.goal.protected(rows.y, logits.shape[1])

        threat = problem.threat
        seen = LinearBoundaries.around(probe, rows.x_adv, protect, choose, rows.index)
        nearest.update(rows.ids, rows.x_adv, threat.distance(rows.x_adv, rows.x), seen.fooled)
        gap, normal = seen.nearest(threat)
        rows.x_adv = _step(threat, rows.x, rows.x_adv, seen.fooled, gap, normal)
        rows.done = rows.done + 1
        finished = rows.done >= self.steps
        last = finished.nonzero()[:, 0]
        if len(last):
            ids, points = rows.ids[last], rows.x_adv[last]
            away = threat.distance(points, rows.x[last])
            nearest.update(ids, points, away, succeeds(probe, problem, points, ids))
        if self.until_fooled:
            finished = finished | (nearest.distance[rows.ids] <= threat.eps)
        return finished if bool(finished.any()) else None


@dataclass
class _FABState(ActiveSet):
    x: Tensor
    x_adv: Tensor
    y: Tensor
    index: Tensor
    target: Tensor
    done: Tensor


def _step(
    threat: Threat, x: Tensor, x_adv: Tensor, fooled: Tensor, gap: Tensor, normal: Tensor
) -> Tensor:
    """Steps to the boundary from the current points and from the images, weighted by length."""
    back = torch.where(fooled, _BACK, 1.0).to(x.dtype)[:, None, None, None]
    here = torch.lerp(x, x_adv, back)
    both = torch.cat([here, x])
    normals = normal.repeat(2, 1, 1, 1)
    risen = (normals * (both - x_adv.repeat(2, 1, 1, 1))).flatten(1).sum(1)
    steps = smallest_step(threat, both, x.repeat(2, 1, 1, 1), normals, -(gap.repeat(2) + risen))
    lengths = threat.distance(steps, torch.zeros_like(steps)).to(x.dtype)
    from_here, from_x = steps.chunk(2)
    tiny = torch.finfo(x.dtype).tiny
    pull = lengths[: len(x)] / (lengths[: len(x)] + lengths[len(x) :]).clamp_min(tiny)
    # a user's distance may be infinite for steps that the threat does not allow from zero
    pull = pull.nan_to_num(nan=_PULL).clamp_max(_PULL)[:, None, None, None]
    mixed = torch.lerp(here + _OVERSHOOT * from_here, x + _OVERSHOOT * from_x, pull)
    low, high = threat.bounds(x)
    return only_finite(mixed.clamp(low, high), x_adv)
