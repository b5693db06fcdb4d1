"""Climbing a loss step by step, on those samples that are still undecided.

Shared by every gradient attack with a fixed budget. Rows work side by side, each
with its own step count; a row that is fooled leaves at once and the next sample in
the queue takes its place, so that batches stay full and no pass is wasted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.attacks.steps import check_steps, default_step
from tempering.core.goals import log_odds, margin, reached
from tempering.core.probe import Probe

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": log_odds,
    "margin": margin,
}
"""Loss names -> from logits and protected outputs to one number a sample."""


@dataclass(frozen=True)
class Ascent:
    """How to climb.

    Attributes:
        steps: Gradient steps a sample, at least 1.
        step_size: Length of a step in the threat's norm.
        random_start: Whether to start at a random point of the ball.
        loss: `cross-entropy` or `margin`.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    steps: int
    step_size: float
    random_start: bool
    loss: str
    until_fooled: bool

    def run(self, probe: Probe, problem: Problem) -> Tensor:
        """Climb for every sample of a problem; x_adv, shape of its x.

        Whether the last step fooled is not looked at: that is for the judge, and would
        cost a pass a sample.
        """
        out = problem.x.clone()
        queue = torch.arange(len(out), device=out.device)
        rows = _Rows.enter(self, problem, queue[: problem.batch_size])
        queue = queue[problem.batch_size :]
        while len(rows):
            left = rows.advance(self, probe, problem)
            if left is None:
                continue
            gone, staying = left.nonzero()[:, 0], (~left).nonzero()[:, 0]
            out[rows.ids[gone]] = rows.x_adv[gone]
            rows = rows.keep(staying)
            if len(queue) and len(rows) <= problem.batch_size // 2:
                free = problem.batch_size - len(rows)
                rows = rows.join(_Rows.enter(self, problem, queue[:free]))
                queue = queue[free:]
        return out


@dataclass
class _Rows:
    """The samples in work: their numbers, images, current points and step counts."""

    ids: Tensor
    x: Tensor
    x_adv: Tensor
    y: Tensor
    index: Tensor
    done: Tensor

    @classmethod
    def enter(cls, ascent: Ascent, problem: Problem, ids: Tensor) -> _Rows:
        x = problem.x[ids]
        draws = problem.draws[ids]
        start = problem.threat.sample(x, draws) if ascent.random_start else x.clone()
        done = torch.zeros(len(ids), dtype=torch.int64, device=x.device)
        return cls(ids, x, start, problem.y[ids], draws.index, done)

    def __len__(self) -> int:
        return len(self.ids)

    def advance(self, ascent: Ascent, probe: Probe, problem: Problem) -> Tensor | None:
        """One step for all; which rows leave (bool), or None if none does."""
        protected: list[Tensor] = []

        def loss(logits: Tensor) -> Tensor:
            protected.append(problem.goal.protected(self.y, logits.shape[1]))
            return LOSSES[ascent.loss](logits, protected[0])

        logits, gradient = probe.gradient(self.x_adv, loss, self.index)
        step = problem.threat.ascent(gradient).mul_(ascent.step_size)
        moved = problem.threat.project(self.x_adv + step, self.x)
        self.done += 1
        finished = self.done >= ascent.steps
        if not ascent.until_fooled:
            self.x_adv = moved
            return finished if bool(finished.any()) else None
        fooled = reached(logits, protected[0])
        self.x_adv = torch.where(fooled[:, None, None, None], self.x_adv, moved)
        left = fooled | finished
        return left if bool(left.any()) else None

    def keep(self, rows: Tensor) -> _Rows:
        return _Rows(*(part[rows] for part in self._parts()))

    def join(self, other: _Rows) -> _Rows:
        pairs = zip(self._parts(), other._parts(), strict=True)
        return _Rows(*(torch.cat(pair) for pair in pairs))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.ids, self.x, self.x_adv, self.y, self.index, self.done


@dataclass(frozen=True)
class IterativeAttack(Attack):
    """The base of attacks that climb one loss within the ball.

    Attributes:
        steps: Gradient steps a sample.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        until_fooled: Whether a sample leaves as soon as it is fooled; training and
            transfer want the whole climb.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    random_start: ClassVar[bool]
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
            random_start=self.random_start,
            loss=self.loss,
            until_fooled=self.until_fooled,
        ).run(probe, problem)

    def label(self) -> str:
        """The name with its steps, such as `pgd-40`."""
        return f"{self.name}-{self.steps}"
