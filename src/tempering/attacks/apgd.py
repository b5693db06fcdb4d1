"""APGD: gradient ascent with adaptive step sizes, on cross-entropy or the DLR loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import AdaptiveAscent, AscentResult, Loss
from tempering.attacks.base import Attack, Problem
from tempering.attacks.halving import Halving
from tempering.attacks.losses import LOSSES
from tempering.attacks.sparsity import Sparsity
from tempering.attacks.steps import check_count
from tempering.core.probe import Probe

_L1_PHASES = ((3.0, 0.3), (2.0, 0.3))
"""In L1: radius of the ball in eps, and share of the steps, of the phases before the last."""


@dataclass(frozen=True)
class APGD(Attack):
    """The base of the APGD attacks.

    Attributes:
        steps: Gradient steps per sample.
        until_fooled: Whether a sample leaves as soon as it is fooled; otherwise the point
            of the largest loss is returned.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    any_threat: ClassVar[bool] = True
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = "steps x (forward + backward) + forward (3 in L1)"
    loss: ClassVar[str]

    steps: int = 100
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """One ascent per sample from a random point."""
        loss = untargeted(self.loss)
        return ascend(probe, problem, loss, self.steps, until_fooled=self.until_fooled).points


@dataclass(frozen=True)
class APGDCE(APGD):
    """Cross-entropy with adaptive step sizes.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020; in L1 'Mind the box', 2021.
    """

    name: ClassVar[str] = "apgd-ce"
    loss: ClassVar[str] = "cross-entropy"


@dataclass(frozen=True)
class APGDDLR(APGD):
    """The difference of logits ratio (DLR) with adaptive step sizes.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020; in L1 'Mind the box', 2021.
    """

    name: ClassVar[str] = "apgd-dlr"
    loss: ClassVar[str] = "ratio"


def untargeted(name: str) -> Loss:
    """A loss of `LOSSES` for `ascend`, which also hands out targets."""
    loss = LOSSES[name]
    return lambda logits, protected, _target: loss(logits, protected)


def ascend(
    probe: Probe,
    problem: Problem,
    loss: Loss,
    steps: int,
    *,
    target: Tensor | None = None,
    points: Tensor | None = None,
    until_fooled: bool = True,
) -> AscentResult:
    """Ascend a loss for every sample of a problem.

    From a random point the first step has length 2 eps; from given points it is eps / 2, so
    that the ascent continues there. In L1 the first step has length eps, and from a random
    point the first two phases run in wider balls (Croce and Hein, 2021, section 4.2).

    Args:
        probe: The model.
        problem: Samples, threat and goal.
        loss: From logits, protected outputs and targets to one number per sample, above 0
            if the attack succeeds.
        steps: Gradient steps per sample.
        target: The output that each sample is driven to, shape (n,), int64, if any.
        points: Initial points, shape of the problem's x; None for random ones.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """
    if target is None:
        target = torch.zeros_like(problem.y)
    if problem.threat.norm != "l1":
        rule = Halving(first=2.0 if points is None else 0.5)
        ascent = AdaptiveAscent(steps, loss, rule, until_fooled)
        return ascent.run(probe, problem, _initial(problem, points), target)
    return _sparse_ascent(probe, problem, loss, steps, target, points, until_fooled)


def _sparse_ascent(
    probe: Probe,
    problem: Problem,
    loss: Loss,
    steps: int,
    target: Tensor,
    points: Tensor | None,
    until_fooled: bool,
) -> AscentResult:
    """An ascent in L1; from Gaussian noise, it begins in wider balls."""
    left = steps
    if points is None:
        noise = problem.streams.on(problem.x.device).derive("noise").normal(problem.x.shape[1:])
        points = problem.x + noise.to(problem.x.dtype)
        for width, share in _L1_PHASES:
            part = int(share * steps)
            if not part:
                continue
            left -= part
            wide = replace(problem, threat=problem.threat.with_eps(width * problem.threat.eps))
            phase = AdaptiveAscent(part, loss, Sparsity(), until_fooled=False)
            points = phase.run(probe, wide, _initial(wide, points), target).points
    ascent = AdaptiveAscent(left, loss, Sparsity(), until_fooled)
    return ascent.run(probe, problem, _initial(problem, points), target)


def _initial(problem: Problem, points: Tensor | None) -> Callable[[Tensor], Tensor]:
    """From row numbers to initial points within the threat."""
    if points is None:
        return lambda ids: problem.threat.sample(problem.x[ids], problem.streams[ids])
    return lambda ids: problem.threat.project(points[ids], problem.x[ids])
