"""Projected gradient ascent with steps of fixed length on the samples not yet fooled."""

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
from tempering.core.threats import L1, L2, Threat

Start = Callable[[Threat, Tensor, RandomStreams], Tensor]
"""From a threat, images and their streams to initial points."""


def random_start(threat: Threat, x: Tensor, streams: RandomStreams) -> Tensor:
    """A random point of the ball; in L2 and L1 at a uniformly drawn share of its distance.

    Nearly all of the volume of a high-dimensional ball lies at its surface: a uniform
    point would spend the whole budget on noise that the steps must first undo.
    """
    point = threat.sample(x, streams)
    if not isinstance(threat, L2 | L1):
        return point
    share = streams.derive("start distance").uniform((1, 1, 1)).to(x.dtype)
    return torch.lerp(x, point, share.to(x.device))


def clean_start(threat: Threat, x: Tensor, streams: RandomStreams) -> Tensor:  # noqa: ARG001
    """The image itself."""
    return x.clone()


@dataclass(frozen=True)
class Ascent:
    """Settings of a projected gradient ascent.

    Attributes:
        steps: Gradient steps per sample, at least 1.
        step_size: Length of a step in the threat's norm.
        start: Chooses the initial points.
        loss: A name in `LOSSES`.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    steps: int
    step_size: float
    start: Start
    loss: str
    until_fooled: bool

    def run(self, probe: Probe, problem: Problem) -> Tensor:
        """Ascend for every sample of a problem; returns x_adv, shape of its x.

        The point after the last step is not evaluated: the evaluator does that.
        """
        out = torch.empty_like(problem.x)

        def leave(rows: _AscentState) -> None:
            out[rows.ids] = rows.x_adv

        run_active_set(
            problem,
            torch.arange(len(out), device=out.device),
            lambda ids: self._enter(problem, ids),
            partial(self._advance, probe, problem),
            leave,
        )
        return out

    def _enter(self, problem: Problem, ids: Tensor) -> _AscentState:
        x, streams = problem.x[ids], problem.streams[ids]
        done = torch.zeros(len(ids), dtype=torch.int64, device=x.device)
        start = self.start(problem.threat, x, streams)
        return _AscentState(ids, x, start, problem.y[ids], streams.index, done)

    def _advance(self, probe: Probe, problem: Problem, rows: _AscentState) -> Tensor | None:
        protected: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            protected.append(problem.goal.protected(rows.y, logits.shape[1]))
            return LOSSES[self.loss](logits, protected[0])

        logits, gradient = probe.gradient(rows.x_adv, loss, rows.index)
        step = steepest(problem.threat, rows.x_adv, rows.x, gradient, self.step_size)
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


@dataclass
class _AscentState(ActiveSet):
    x: Tensor
    x_adv: Tensor
    y: Tensor
    index: Tensor
    done: Tensor


@dataclass(frozen=True)
class IterativeAttack(Attack):
    """The base of attacks that differ in their loss and initial points only.

    Attributes:
        steps: Gradient steps per sample.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        until_fooled: Whether a sample leaves as soon as it is fooled; training and
            transfer need all steps.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    any_threat: ClassVar[bool] = True
    cost: ClassVar[str] = "steps x (forward + backward)"
    start: ClassVar[Start]
    loss: ClassVar[str]

    steps: int = 40
    step_size: float | None = None
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_steps(self.name, self.steps, self.step_size)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Ascend this attack's loss from its initial points."""
        return Ascent(
            steps=self.steps,
            step_size=default_step(self.step_size, problem.threat, self.steps),
            start=type(self).start,
            loss=self.loss,
            until_fooled=self.until_fooled,
        ).run(probe, problem)
