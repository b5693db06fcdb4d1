"""N-FGSM: one gradient step from strong noise, without a projection onto the ball."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tempering.attacks.losses import LOSSES
from tempering.attacks.steps import steepest
from tempering.core.goals import Untargeted
from tempering.core.probe import probing
from tempering.core.threats import Threat
from tempering.training.cost import Cost
from tempering.training.inner_ascent import require_climbable
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
class NFGSM(Warmup):
    """Cross-entropy on samples with noise and one step, which may leave the ball.

    De Jorge et al., 'Make some noise: reliable and efficient single-step adversarial training',
    2022, algorithm 1. Noise larger than eps delays catastrophic overfitting, and the step is
    not projected back.

    Attributes:
        noise: Size of the noise, in units of eps.
        alpha: Length of the step, in units of eps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "n-fgsm"
    source: ClassVar[str] = "de Jorge et al., 2022"
    inner_maximization: ClassVar[InnerMaximization] = "own"

    noise: float = 2.0
    alpha: float = 1.0
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "noise", self.noise, 0.0, math.inf)
        require_between(self.name, "alpha", self.alpha, 1e-6, math.inf)

    def multi_step(self) -> PGDTraining:
        """PGD training."""
        return PGDTraining(eps_warmup_steps=self.eps_warmup_steps)

    def require(self, threat: Threat, steps: int) -> None:
        """The threat can be climbed in, and the warm-up ends before training does."""
        require_climbable(self.name, threat)
        super().require(threat, steps)

    def inner_passes(self) -> Cost:
        """One pass in both directions."""
        return Cost(1, 1)

    def perturb(self, batch: Batch) -> Batch:
        """A point of the ball, moved `noise` times as far, and a step of `alpha` eps from it."""
        x, threat = batch.x, batch.threat
        if not len(x) or threat.eps == 0:
            return batch.with_x_adv(x)
        drawn = threat.sample(x, batch.streams.derive("start")) - x
        noisy = (x + self.noise * drawn).clamp(0.0, 1.0)

        def loss(logits: Tensor) -> Tensor:
            return LOSSES["cross-entropy"](logits, Untargeted().protected(batch.y, batch.outputs))

        with probing(batch.model) as probe:
            _, gradient = probe.gradient(noisy, loss)
        step = steepest(threat, noisy, x, gradient, self.alpha * threat.eps)
        return batch.with_x_adv((noisy + step).clamp(0.0, 1.0))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each perturbed sample."""
        logits = model(batch.perturbed).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())
