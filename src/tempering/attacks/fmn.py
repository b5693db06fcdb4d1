"""FMN: gradient steps in a ball whose radius adapts to the boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.nearest import BatchedNearestAttack, Nearest, only_finite, succeeds
from tempering.attacks.schedules import cosine
from tempering.attacks.slopes import distance_to_zero
from tempering.attacks.steps import check_count, check_positive, check_share
from tempering.core.goals import margin, reached
from tempering.core.probe import Probe
from tempering.core.threats import L2

_LAST_STEP, _LAST_GAMMA = 0.01, 0.001
_UNIT = L2(1.0)


@dataclass(frozen=True)
class FMN(BatchedNearestAttack):
    """Ascend the margin in a ball that shrinks after a success and grows otherwise.

    Pintor et al., 'Fast minimum-norm adversarial attacks through adaptive norm
    constraints', 2021, algorithm 1. Steps have L2 length in every norm. Until the
    first success the radius is the distance to the linearized boundary.

    Attributes:
        steps: Gradient steps per sample.
        step_size: First length of a step, in L2; it falls along a cosine.
        gamma: First relative change of the radius; it falls likewise.
    """

    name: ClassVar[str] = "fmn"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    source: ClassVar[str] = "Pintor et al., 2021"
    cost: ClassVar[str] = "steps x (forward + backward) + forward"

    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_positive(self.name, "step_size", self.step_size)
        check_share(self.name, "gamma", self.gamma)

    def _search_batch(self, probe: Probe, problem: Problem) -> Tensor:
        x, threat = problem.x, problem.threat
        rows = torch.arange(len(x), device=x.device)
        nearest, x_adv = Nearest.start(x), x.clone()
        radius = torch.full_like(nearest.distance, torch.inf)
        for step in range(self.steps):
            seen: list[Tensor] = []

            def loss(logits: Tensor, seen: list[Tensor] = seen) -> Tensor:
                seen.append(problem.protected(logits))
                gap = margin(logits, seen[0])
                seen.append(gap.detach())
                return gap

            logits, gradient = probe.gradient(x_adv, loss, problem.streams.index)
            fooled = reached(logits, seen[0])
            away = threat.distance(x_adv, x).to(x.dtype)
            nearest.update(rows, x_adv, away, fooled)
            gamma = cosine(self.gamma, _LAST_GAMMA, step, self.steps)
            estimate = away + distance_to_zero(threat, seen[1], gradient)
            succeeded = nearest.distance.isfinite()
            wider = torch.maximum(estimate, radius).where(radius.isfinite(), estimate)
            outward = torch.where(succeeded, radius, wider) * (1 + gamma)
            inward = torch.minimum(radius * (1 - gamma), nearest.distance)
            radius = torch.where(fooled, inward, outward)
            length = cosine(self.step_size, _LAST_STEP * self.step_size, step, self.steps)
            ahead = threat.project(x_adv + _UNIT.ascent(gradient) * length, x, radius)
            x_adv = only_finite(ahead, x_adv)
        nearest.update(
            rows, x_adv, threat.distance(x_adv, x), succeeds(probe, problem, x_adv, rows)
        )
        return nearest.x_adv
