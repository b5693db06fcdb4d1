"""Climbing a loss step by step, on those samples that are still undecided.

Shared by every gradient attack with a fixed budget and steps of a fixed length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet, run_active_set
from tempering.attacks.base import Attack, Problem
from tempering.attacks.losses import LOSSES
from tempering.attacks.steps import check_steps, default_step, steepest
from tempering.core.goals import reached
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat

Start = Callable[[Threat, Tensor, RandomStreams], Tensor]
"""From a threat, images and their streams to the points where climbs begin."""


def anywhere(threat: Threat, x: Tensor, streams: RandomStreams) -> Tensor:
    """A random point of the ball, in L2 and L1 at a distance drawn evenly from 0 to eps.

    Of a ball of many dimensions nearly all volume lies at its surface: a point drawn evenly
    from it has spent the whole budget on noise, which steps must first undo.
    """
    point = threat.sample(x, streams)
    if threat.name not in ("l2", "l1"):
        return point
    share = streams.derive("start distance").uniform((1, 1, 1)).to(x.dtype)
    return torch.lerp(x, point, share.to(x.device))


def at_the_image(threat: Threat, x: Tensor, streams: RandomStreams) -> Tensor:  # noqa: ARG001
    """The image itself."""
    return x.clone()


@dataclass(frozen=True)
class Ascent:
    """How to climb.

    Attributes:
        steps: Gradient steps a sample, at least 1.
        step_size: Length of a step in the threat's norm.
        start: Where climbs begin.
        loss: A name in `LOSSES`.
        until_fooled: Whether a sample leaves as soon as it is fooled.
        decay: What share of the gathered gradient a step keeps; 0 for no momentum.
    """

    steps: int
    step_size: float
    start: Start
    loss: str
    until_fooled: bool
    decay: float = 0.0

    def run(self, probe: Probe, problem: Problem) -> Tensor:
        """Climb for every sample of a problem; x_adv, shape of its x.

        Whether the last step fooled is not looked at: that is for the judge, and would
        cost a pass a sample.
        """
        out = torch.empty_like(problem.x)

        def leave(rows: _Climbers) -> None:
            out[rows.ids] = rows.x_adv

        run_active_set(
            problem,
            torch.arange(len(out), device=out.device),
            lambda ids: self._enter(problem, ids),
            partial(self._advance, probe, problem),
            leave,
        )
        return out

    def _enter(self, problem: Problem, ids: Tensor) -> _Climbers:
        x, streams = problem.x[ids], problem.streams[ids]
        done = torch.zeros(len(ids), dtype=torch.int64, device=x.device)
        gathered = torch.zeros_like(x) if self.decay else x.new_empty(len(ids), 0)
        start = self.start(problem.threat, x, streams)
        return _Climbers(ids, x, start, problem.y[ids], streams.index, done, gathered)

    def _advance(self, probe: Probe, problem: Problem, rows: _Climbers) -> Tensor | None:
        protected: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            protected.append(problem.goal.protected(rows.y, logits.shape[1]))
            return LOSSES[self.loss](logits, protected[0])

        logits, gradient = probe.gradient(rows.x_adv, loss, rows.index)
        if self.decay:
            rows.gathered = gradient = rows.gathered * self.decay + _unit(gradient)
        step = steepest(problem.threat, rows.x_adv, gradient, self.step_size)
        moved = problem.threat.project(step.add_(rows.x_adv), rows.x)
        rows.done += 1
        finished = rows.done >= self.steps
        if not self.until_fooled:
            rows.x_adv = moved
            return finished if bool(finished.any()) else None
        fooled = reached(logits, protected[0])
        rows.x_adv = torch.where(fooled[:, None, None, None], rows.x_adv, moved)
        left = fooled | finished
        return left if bool(left.any()) else None


def _unit(gradient: Tensor) -> Tensor:
    """Scaled so that absolute entries sum to 1; zero stays zero."""
    total = gradient.flatten(1).abs().sum(1)
    return gradient / total.where(total > 0, torch.ones_like(total))[:, None, None, None]


@dataclass
class _Climbers(ActiveSet):
    x: Tensor
    x_adv: Tensor
    y: Tensor
    index: Tensor
    done: Tensor
    gathered: Tensor


@dataclass(frozen=True)
class IterativeAttack(Attack):
    """The base of attacks that climb one loss within the ball.

    Attributes:
        steps: Gradient steps a sample.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        until_fooled: Whether a sample leaves as soon as it is fooled; training and
            transfer want the whole climb.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    cost: ClassVar[str] = "steps x (forward + backward)"
    start: ClassVar[Start]
    loss: ClassVar[str]

    steps: int = 40
    step_size: float | None = None
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_steps(self.name, self.steps, self.step_size)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Climb the loss of this attack."""
        return Ascent(
            steps=self.steps,
            step_size=default_step(self.step_size, problem.threat, self.steps),
            start=type(self).start,
            loss=self.loss,
            until_fooled=self.until_fooled,
        ).run(probe, problem)

    def label(self) -> str:
        """The name with its steps, such as `pgd-40`."""
        return f"{self.name}-{self.steps}"
