"""Gradient ascent with adaptive step sizes, which all APGD attacks share.

Croce and Hein, 2020 and 2021. The norm's rule decides how to step and when to shorten
steps; the attack chooses the loss.
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
"""From logits, protected outputs and targets to one number per sample."""


@dataclass
class AdaptiveState(ActiveSet):
    """The state of the samples.

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


class AscentResult(NamedTuple):
    """The result for each sample.

    Attributes:
        points: The points that succeeded, or else those of the largest loss, shape
            (n, c, h, w).
        fooled: Whether they succeeded, shape (n,), bool.
        loss: The largest loss, shape (n,).
    """

    points: Tensor
    fooled: Tensor
    loss: Tensor


class StepRule(Protocol):
    """Step sizes and directions of a norm."""

    def begin(self, state: AdaptiveState, threat: Threat) -> None:
        """Set the first step size."""
        ...

    def review(self, state: AdaptiveState, gradient: Tensor, threat: Threat, steps: int) -> Tensor:
        """At checkpoints shorten steps and return to the best points; gives the gradients there."""
        ...

    def move(self, state: AdaptiveState, gradient: Tensor, threat: Threat) -> Tensor:
        """The next points, shape of x_adv."""
        ...


@dataclass(frozen=True)
class AdaptiveAscent:
    """Settings of an ascent.

    Attributes:
        steps: Gradient steps per sample.
        loss: What is maximized; above 0 where the attack succeeds.
        rule: Step sizes and directions.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    steps: int
    loss: Loss
    rule: StepRule
    until_fooled: bool

    def run(
        self, probe: Probe, problem: Problem, start: Callable[[Tensor], Tensor], target: Tensor
    ) -> AscentResult:
        """Ascend for every sample of a problem.

        Args:
            probe: The model.
            problem: Samples, threat and goal.
            start: From row numbers to initial points.
            target: The output that each sample is driven to, shape (n,), int64.
        """
        out = torch.empty_like(problem.x)
        fooled = torch.zeros(len(out), dtype=torch.bool, device=out.device)
        losses = torch.zeros(len(out), dtype=out.dtype, device=out.device)

        def leave(state: AdaptiveState) -> None:
            out[state.ids] = state.best
            fooled[state.ids] = state.fooled
            losses[state.ids] = state.best_loss

        run_active_set(
            problem,
            torch.arange(len(out), device=out.device),
            lambda ids: self._enter(problem, ids, start(ids), target[ids]),
            lambda state: self._advance(probe, problem, state),
            leave,
        )
        return AscentResult(out, fooled, losses)

    def _enter(self, problem: Problem, ids: Tensor, start: Tensor, target: Tensor) -> AdaptiveState:
        x = problem.x[ids]
        low = x.new_full((len(ids),), -torch.inf)
        never = torch.zeros(len(ids), dtype=torch.bool, device=x.device)
        count = torch.zeros(len(ids), dtype=torch.int64, device=x.device)
        state = AdaptiveState(
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
        self.rule.begin(state, problem.threat)
        return state

    def _advance(self, probe: Probe, problem: Problem, state: AdaptiveState) -> Tensor | None:
        seen: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            seen.append(problem.goal.protected(state.y, logits.shape[1]))
            value = self.loss(logits, seen[0], state.target)
            seen.append(value.detach())
            return value

        logits, gradient = probe.gradient(state.x_adv, loss, state.index)
        protected, value = seen[0], seen[1].to(state.x.dtype)
        fooled = reached(logits, protected)
        self._remember(state, value, fooled, gradient)
        state.rises = state.rises + ((value > state.last_loss) & (state.done > 1))
        state.last_loss = value
        state.mark = state.best_loss.where(state.done == 0, state.mark)
        gradient = self.rule.review(state, gradient, problem.threat, self.steps)
        moved = self.rule.move(state, gradient, problem.threat)
        state.previous, state.x_adv = state.x_adv, moved
        state.done = state.done + 1
        finished = state.done >= self.steps
        left = finished | state.fooled if self.until_fooled else finished
        if not bool(left.any()):
            return None
        self._evaluate_last(probe, problem, state, finished)
        return left

    def _remember(
        self, state: AdaptiveState, value: Tensor, fooled: Tensor, gradient: Tensor
    ) -> None:
        better = value > state.best_loss
        if self.until_fooled:
            better = better | fooled
        wide = better[:, None, None, None]
        state.best = torch.where(wide, state.x_adv, state.best)
        state.best_gradient = torch.where(wide, gradient, state.best_gradient)
        state.best_loss = torch.where(better, value, state.best_loss)
        state.fooled = torch.where(better, fooled, state.fooled)

    def _evaluate_last(
        self, probe: Probe, problem: Problem, state: AdaptiveState, finished: Tensor
    ) -> None:
        """Evaluate the point after the last step where no point has succeeded."""
        rows = (finished & ~state.fooled).nonzero()[:, 0]
        if not len(rows):
            return
        points = state.x_adv[rows]
        logits = probe.logits(points, state.index[rows])
        protected = problem.goal.protected(state.y[rows], logits.shape[1])
        value = self.loss(logits, protected, state.target[rows]).to(state.x.dtype)
        fooled = reached(logits, protected)
        better = rows[fooled | (value > state.best_loss[rows])]
        state.best[better] = state.x_adv[better]
        state.best_loss[rows] = torch.maximum(value, state.best_loss[rows])
        state.fooled[rows] = fooled
