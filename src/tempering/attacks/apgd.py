"""APGD: what its three losses share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import AdaptiveAscent, Climb, Loss, StepRule
from tempering.attacks.base import Attack, Problem
from tempering.attacks.halving import Halving
from tempering.attacks.sparsity import Sparsity
from tempering.attacks.steps import check_count
from tempering.core.probe import Probe

_ONWARDS = 0.5
"""First step, in eps, of climbs that go on from good points: 2 eps would lead away from them."""
_L1_PHASES = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""In L1: how many times eps the ball is wide, and for what share of the steps."""


@dataclass(frozen=True)
class APGD(Attack):
    """The base of attacks that climb with steps of adaptive length from a random start.

    In L1 the first climbs are in wider balls, each from where the last one ended (Croce
    and Hein, 2021, section 4.2).

    Attributes:
        steps: Gradient steps a sample.
        until_fooled: Whether a sample leaves as soon as it is fooled; otherwise the point
            of largest loss is returned.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    cost: ClassVar[str] = "steps x (forward + backward) + forward (3 in L1)"

    steps: int = 100
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)

    def climb(
        self,
        probe: Probe,
        problem: Problem,
        loss: Loss,
        target: Tensor | None = None,
        steps: int | None = None,
        points: Tensor | None = None,
        near: float | None = None,
    ) -> Climb:
        """Climb a loss for every sample of a problem.

        Args:
            probe: The model.
            problem: Samples, threat and goal.
            loss: From logits, protected outputs and targets to one number a sample.
            target: The output that each sample is driven to, shape (n,), int64, if any.
            steps: By default those of the attack.
            points: Where to go on from, shape of the problem's x; None for anywhere.
            near: How little loss short of success a climb has to be to go on, see
                `AdaptiveAscent`; None to go on in any case.
        """
        steps = steps or self.steps
        if target is None:
            target = torch.zeros_like(problem.y)
        rule: StepRule
        if problem.threat.name == "l1" and points is None:
            return self._narrowing(probe, problem, loss, target, steps, near)
        if problem.threat.name == "l1":
            rule = Sparsity(warm=True)
        else:
            rule = Halving() if points is None else Halving(_ONWARDS)
        ascent = AdaptiveAscent(steps, loss, rule, self.until_fooled, near)
        return ascent.run(probe, problem, _from(problem, points), target)

    def _narrowing(
        self,
        probe: Probe,
        problem: Problem,
        loss: Loss,
        target: Tensor,
        steps: int,
        near: float | None,
    ) -> Climb:
        left = steps
        points: Tensor | None = None
        for width, share in _L1_PHASES[:-1]:
            part = int(share * steps)
            if not part:
                continue
            left -= part
            wide = replace(problem, threat=problem.threat.with_eps(width * problem.threat.eps))
            ascent = AdaptiveAscent(part, loss, Sparsity(warm=points is not None), False)
            points = ascent.run(probe, wide, _from(wide, points), target).points
        rule = Sparsity(warm=points is not None)
        ascent = AdaptiveAscent(left, loss, rule, self.until_fooled, near)
        return ascent.run(probe, problem, _from(problem, points), target)

    def label(self) -> str:
        """The name with its steps, such as `apgd-ce-100`."""
        return f"{self.name}-{self.steps}"


def _anywhere(problem: Problem) -> Callable[[Tensor], Tensor]:
    def start(ids: Tensor) -> Tensor:
        return problem.threat.sample(problem.x[ids], problem.streams[ids])

    return start


def _from(problem: Problem, points: Tensor | None) -> Callable[[Tensor], Tensor]:
    if points is None:
        return _anywhere(problem)
    return lambda ids: problem.threat.project(points[ids], problem.x[ids])
