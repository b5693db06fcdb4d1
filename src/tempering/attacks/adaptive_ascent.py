"""Climbing with steps that find their own length, one state a sample.

Shared by the APGD family (Croce and Hein, 2020 and 2021): the norm decides by a rule how
to step and when to shorten steps, the attack decides which loss is climbed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet, run_active_set
from tempering.attacks.base import Problem
from tempering.core.goals import reached
from tempering.core.probe import Probe
from tempering.core.threats import Threat

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits, protected outputs and targets to one number a sample."""

_LOOKS = ((1, 3), (2, 2), (3, 1))
"""After how many fifths of its steps a climb is looked at, and how many times `near` short of
success it may then be."""


@dataclass
class Trail(ActiveSet):
    """The state of climbs.

    Attributes:
        ids: Row numbers in the problem.
        x: Images.
        y: Labels.
        index: Sample numbers for error messages.
        target: The output that each sample is driven to; a loss without target ignores it.
        x_adv: Current points.
        previous: The points before them.
        best: Points of largest loss so far.
        best_gradient: Gradients there.
        best_loss: Losses there.
        last_loss: Losses of the points before the current ones.
        mark: `best_loss` at the last review.
        rises: How often the loss has risen since the last review.
        shortened: Whether the last review shortened the step.
        step: Length of the next step.
        spread: How many pixels the last review saw changed (L1).
        share: What share of the pixels a step moves (L1).
        done: Steps taken.
        fooled: Whether `best` is fooled.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    target: Tensor
    x_adv: Tensor
    previous: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    last_loss: Tensor
    mark: Tensor
    rises: Tensor
    shortened: Tensor
    step: Tensor
    spread: Tensor
    share: Tensor
    done: Tensor
    fooled: Tensor


class Climb(NamedTuple):
    """Where climbs ended.

    Attributes:
        points: The fooled points, or else those of largest loss, shape (n, c, h, w).
        fooled: Whether they are fooled, shape (n,), bool.
        loss: The largest loss of each climb, shape (n,).
    """

    points: Tensor
    fooled: Tensor
    loss: Tensor


class StepRule(Protocol):
    """How a norm steps."""

    def begin(self, trail: Trail, threat: Threat) -> None:
        """Set the first step of climbs."""
        ...

    def review(self, trail: Trail, gradient: Tensor, threat: Threat, steps: int) -> Tensor:
        """Where it is time, shorten steps and go back to the best points; gradients to follow."""
        ...

    def move(self, trail: Trail, gradient: Tensor, threat: Threat) -> Tensor:
        """The next points, shape of x_adv."""
        ...


@dataclass(frozen=True)
class AdaptiveAscent:
    """How to climb.

    Attributes:
        steps: Gradient steps a sample.
        loss: What is climbed.
        rule: How to step.
        until_fooled: Whether a sample leaves as soon as it is fooled.
        near: How little short of success, a loss of 0, a climb has to be to go on: three times
            that after a fifth of its steps, twice after two fifths, and that after three; None
            to go on in any case.
    """

    steps: int
    loss: Loss
    rule: StepRule
    until_fooled: bool
    near: float | None = None

    def run(
        self, probe: Probe, problem: Problem, start: Callable[[Tensor], Tensor], target: Tensor
    ) -> Climb:
        """Climb for every sample of a problem.

        Args:
            probe: The model.
            problem: Samples, threat and goal.
            start: From row numbers to the points where climbs begin.
            target: The output that each sample is driven to, shape (n,), int64.
        """
        out = torch.empty_like(problem.x)
        fooled = torch.zeros(len(out), dtype=torch.bool, device=out.device)
        losses = torch.zeros(len(out), dtype=out.dtype, device=out.device)

        def leave(trail: Trail) -> None:
            out[trail.ids] = trail.best
            fooled[trail.ids] = trail.fooled
            losses[trail.ids] = trail.best_loss

        run_active_set(
            problem,
            torch.arange(len(out), device=out.device),
            lambda ids: self._enter(problem, ids, start(ids), target[ids]),
            lambda trail: self._advance(probe, problem, trail),
            leave,
        )
        return Climb(out, fooled, losses)

    def _enter(self, problem: Problem, ids: Tensor, start: Tensor, target: Tensor) -> Trail:
        x = problem.x[ids]
        low = x.new_full((len(ids),), -torch.inf)
        never = torch.zeros(len(ids), dtype=torch.bool, device=x.device)
        count = torch.zeros(len(ids), dtype=torch.int64, device=x.device)
        trail = Trail(
            ids=ids,
            x=x,
            y=problem.y[ids],
            index=problem.streams.index[ids],
            target=target,
            x_adv=start,
            previous=start,
            best=start,
            best_gradient=torch.zeros_like(x),
            best_loss=low,
            last_loss=low,
            mark=low,
            rises=count,
            shortened=~never,
            step=torch.zeros_like(low),
            spread=torch.zeros_like(low),
            share=torch.zeros_like(low),
            done=count,
            fooled=never,
        )
        self.rule.begin(trail, problem.threat)
        return trail

    def _advance(self, probe: Probe, problem: Problem, trail: Trail) -> Tensor | None:
        seen: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            seen.append(problem.goal.protected(trail.y, logits.shape[1]))
            value = self.loss(logits, seen[0], trail.target)
            seen.append(value.detach())
            return value

        logits, gradient = probe.gradient(trail.x_adv, loss, trail.index)
        protected, value = seen[0], seen[1].to(trail.x.dtype)
        fooled = reached(logits, protected)
        self._remember(trail, value, fooled, gradient)
        trail.rises = trail.rises + ((value > trail.last_loss) & (trail.done > 1))
        trail.last_loss = value
        trail.mark = trail.best_loss.where(trail.done == 0, trail.mark)
        gradient = self.rule.review(trail, gradient, problem.threat, self.steps)
        moved = self.rule.move(trail, gradient, problem.threat)
        trail.previous, trail.x_adv = trail.x_adv, moved
        trail.done = trail.done + 1
        finished = trail.done >= self.steps
        left = finished | trail.fooled if self.until_fooled else finished
        left = left | self._hopeless(trail)
        if not bool(left.any()):
            return None
        self._look_at_last(probe, problem, trail, finished)
        return left

    def _hopeless(self, trail: Trail) -> Tensor:
        """Climbs that are looked at now and have not come near, shape (n,), bool."""
        far = torch.zeros_like(trail.fooled)
        if self.near is None:
            return far
        for fifths, times in _LOOKS:
            due = trail.done == fifths * self.steps // 5
            far |= due & (trail.best_loss < -times * self.near)
        return far

    def _remember(self, trail: Trail, value: Tensor, fooled: Tensor, gradient: Tensor) -> None:
        better = value > trail.best_loss
        if self.until_fooled:
            better = better | fooled
        wide = better[:, None, None, None]
        trail.best = torch.where(wide, trail.x_adv, trail.best)
        trail.best_gradient = torch.where(wide, gradient, trail.best_gradient)
        trail.best_loss = torch.where(better, value, trail.best_loss)
        trail.fooled = torch.where(better, fooled, trail.fooled)

    def _look_at_last(self, probe: Probe, problem: Problem, trail: Trail, finished: Tensor) -> None:
        """Where the last step led: a forward pass for samples that are not fooled yet."""
        rows = (finished & ~trail.fooled).nonzero()[:, 0]
        if not len(rows):
            return
        points = trail.x_adv[rows]
        logits = probe.logits(points, trail.index[rows])
        protected = problem.goal.protected(trail.y[rows], logits.shape[1])
        value = self.loss(logits, protected, trail.target[rows]).to(trail.x.dtype)
        fooled = reached(logits, protected)
        better = rows[fooled | (value > trail.best_loss[rows])]
        trail.best[better] = trail.x_adv[better]
        trail.best_loss[rows] = torch.maximum(value, trail.best_loss[rows])
        trail.fooled[rows] = fooled
