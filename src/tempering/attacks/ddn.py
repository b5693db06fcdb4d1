"""DDN: direction and length of the perturbation, each by its own rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.nearest import BatchedNearestAttack, Nearest, succeeds
from tempering.attacks.schedules import cosine
from tempering.attacks.steps import check_count, check_positive, check_share
from tempering.core.goals import log_odds, reached
from tempering.core.probe import Probe
from tempering.core.threats import L2

_LAST_STEP, _LAST_GAMMA = 0.01, 0.001


@dataclass(frozen=True)
class DDN(BatchedNearestAttack):
    """Turn the perturbation with the gradient; shorten it where it fools, else lengthen it.

    Rony et al., 'Decoupling direction and norm for efficient gradient-based L2
    adversarial attacks and defenses', 2019, algorithm 1. There the length always changes
    by 5 %, which is then its precision; here that share falls along a cosine as steps do.

    Attributes:
        steps: Gradient steps a sample.
        initial_norm: First length.
        gamma: First share by which the length changes.
    """

    name: ClassVar[str] = "ddn"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    source: ClassVar[str] = "Rony et al., 2019"
    cost: ClassVar[str] = "steps x (forward + backward) + forward"

    steps: int = 100
    initial_norm: float = 1.0
    gamma: float = 0.05

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_positive(self.name, "initial_norm", self.initial_norm)
        check_share(self.name, "gamma", self.gamma)

    def descend(self, probe: Probe, problem: Problem) -> Tensor:
        """All steps for one batch."""
        x, threat = problem.x, L2(problem.threat.eps)
        rows = torch.arange(len(x), device=x.device)
        nearest, x_adv = Nearest.start(x), x.clone()
        length = x.new_full((len(x),), self.initial_norm)
        for step in range(self.steps):
            seen: list[Tensor] = []

            def loss(logits: Tensor, seen: list[Tensor] = seen) -> Tensor:
                seen.append(problem.protected(logits))
                return log_odds(logits, seen[0])

            logits, gradient = probe.gradient(x_adv, loss, problem.draws.index)
            fooled = reached(logits, seen[0])
            nearest.update(rows, x_adv, threat.distance(x_adv, x), fooled)
            gamma = cosine(self.gamma, _LAST_GAMMA, step, self.steps)
            length = length * torch.where(fooled, 1 - gamma, 1 + gamma).to(x.dtype)
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
