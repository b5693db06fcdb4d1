"""DDN: direction and length of the perturbation, each by its own rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.nearest import BatchedNearestAttack, Nearest, succeeds
from tempering.attacks.schedules import cosine
from tempering.attacks.slopes import way_to_zero
from tempering.attacks.steps import check_count, check_share
from tempering.core.goals import log_odds, margin, reached
from tempering.core.probe import Probe
from tempering.core.threats import L2

_LAST_STEP, _LAST_GAMMA = 0.01, 0.001


@dataclass(frozen=True)
class DDN(BatchedNearestAttack):
    """Turn the perturbation with the gradient; shorten it where it fools, else lengthen it.

    Rony et al., 'Decoupling direction and norm for efficient gradient-based L2
    adversarial attacks and defenses', 2019, algorithm 1. There the length always changes
    by 5 %, which is then its precision; here that share falls along a cosine, as steps do.
    Until a sample is first fooled, its length is at least what the linearised model asks
    for, where the paper starts from 1 whatever the images are. Cross-entropy, which the
    paper climbs, finds the class to go to; in the second half of the steps the margin is
    climbed, whose zero is the boundary.

    Attributes:
        steps: Gradient steps a sample.
        gamma: First share by which the length changes.
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

    def descend(self, probe: Probe, problem: Problem) -> Tensor:
        """All steps for one batch."""
        x, threat = problem.x, L2(problem.threat.eps)
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
            away = threat.distance(x_adv, x)
            nearest.update(rows, x_adv, away, fooled)
            gamma = cosine(self.gamma, _LAST_GAMMA, step, self.steps)
            guess = (away + way_to_zero(threat, seen[1], gradient)).clamp_max(across)
            longer = torch.maximum(length, guess)
            found = nearest.distance.isfinite()
            outward = torch.where(found, length, longer) * (1 + gamma)
            length = torch.where(fooled, length * (1 - gamma), outward)
            turn = threat.ascent(gradient) * cosine(1.0, _LAST_STEP, step, self.steps)
            direction = threat.ascent(x_adv - x + turn)
            x_adv = (x + length[:, None, None, None] * direction).clamp(0.0, 1.0)
        nearest.update(
            rows, x_adv, threat.distance(x_adv, x), succeeds(probe, problem, x_adv, rows)
        )
        return nearest.x_adv

    def label(self) -> str:
        """The name with its steps, such as `ddn-100`."""
        return f"{self.name}-{self.steps}"
