"""FGSM-RS: one gradient step from a random point of the ball."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tempering.attacks.pgd import PGD
from tempering.core.threats import Threat
from tempering.training.cost import Cost
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Losses,
    Warmup,
    require_between,
    soft_cross_entropy,
)
from tempering.training.objectives.pgd_training import PGDTraining


@dataclass(frozen=True)
class FGSMRS(Warmup):
    """Cross-entropy on samples attacked by one step from a random start.

    Wong, Rice and Kolter, 'Fast is better than free: revisiting adversarial training', 2020,
    algorithm 3. Long trainings overfit to the single step: see the guard `overfitting`.

    Attributes:
        alpha: Length of the step, in units of eps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.

    Example:
        >>> FGSMRS(alpha=1).spec()
        'fgsm-rs:alpha=1,eps_warmup_steps=0'
    """

    name: ClassVar[str] = "fgsm-rs"
    source: ClassVar[str] = "Wong, Rice and Kolter, 2020"
    inner_maximization: ClassVar[InnerMaximization] = "attack"

    alpha: float = 1.25
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "alpha", self.alpha, 1e-6, math.inf)

    def multi_step(self) -> PGDTraining:
        """PGD training."""
        return PGDTraining(eps_warmup_steps=self.eps_warmup_steps)

    def require(self, threat: Threat, steps: int) -> None:
        """PGD knows the threat, and the warm-up ends before training does."""
        PGD(1).require(threat)
        super().require(threat, steps)

    def inner_passes(self) -> Cost:
        """One pass in both directions."""
        return Cost(1, 1)

    def perturb(self, batch: Batch) -> Batch:
        """One step of PGD."""
        if batch.threat.eps == 0:
            return batch.with_x_adv(batch.x)
        attack = PGD(1, self.alpha * batch.threat.eps, until_fooled=False)
        return batch.with_x_adv(batch.attack(attack))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each adversarial sample."""
        logits = model(batch.perturbed).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())
