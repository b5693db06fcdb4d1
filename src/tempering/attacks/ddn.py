"""DDN: direction and norm of the perturbation are updated separately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.nearest import BatchedNearestAttack, Nearest, succeeds
from tempering.attacks.schedules import cosine
from tempering.attacks.slopes import distance_to_zero
from tempering.attacks.steps import check_count, check_share
from tempering.core.goals import log_odds, margin, reached
from tempering.core.probe import Probe

_LAST_STEP, _LAST_GAMMA = 0.01, 0.001


@dataclass(frozen=True)
class DDN(BatchedNearestAttack):
    """Gradient steps on the direction; the norm shrinks after a success and grows otherwise.

    Rony et al., 'Decoupling direction and norm for efficient gradient-based L2
    adversarial attacks and defenses', 2019, algorithm 1. Unlike in the paper, the relative
    change of the norm falls along a cosine; until the first success the norm is at least
    the distance to the linearized boundary; and the second half of the steps uses the
    margin in place of cross-entropy, since its zero is the boundary.

    Attributes:
        steps: Gradient steps per sample.
        gamma: First relative change of the norm.
    """

    name: ClassVar[str] = "ddn"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    source: ClassVar[str] = "Rony et al., 2019"
    cost: ClassVar[str] = "steps x (forward + backward) + forward"

    steps: int = 100
    gamma: float = 0.05

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_share(self.name, "gamma", self.gamma)

    def _search_batch(self, probe: Probe, problem: Problem) -> Tensor:
        x, threat = problem.x, problem.threat
        rows = torch.arange(len(x), device=x.device)
        nearest, x_adv = Nearest.start(x), x.clone()
        length, across = torch.zeros_like(nearest.distance), x[0].numel() ** 0.5
        for step in range(self.steps):
            seen: list[Tensor] = []

            def loss(logits: Tensor, seen: list[Tensor] = seen, step: int = step) -> Tensor:
                seen.append(problem.protected(logits))
                gap = margin(logits, seen[0])
                seen.append(gap.detach())
                return log_odds(logits, seen[0]) if 0 < step < self.steps // 2 else gap

            logits, gradient = probe.gradient(x_adv, loss, problem.streams.index)
            fooled = reached(logits, seen[0])
            away = threat.distance(x_adv, x).to(x.dtype)
            nearest.update(rows, x_adv, away, fooled)
            gamma = cosine(self.gamma, _LAST_GAMMA, step, self.steps)
            estimate = (away + distance_to_zero(threat, seen[1], gradient)).clamp_max(across)
            longer = torch.maximum(length, estimate)
            succeeded = nearest.distance.isfinite()
            outward = torch.where(succeeded, length, longer) * (1 + gamma)
            length = torch.where(fooled, length * (1 - gamma), outward)
            turn = threat.ascent(gradient) * cosine(1.0, _LAST_STEP, step, self.steps)
            direction = threat.ascent(x_adv - x + turn)
            x_adv = threat.project(x + length[:, None, None, None] * direction, x, length)
        nearest.update(
            rows, x_adv, threat.distance(x_adv, x), succeeds(probe, problem, x_adv, rows)
        )
        return nearest.x_adv
