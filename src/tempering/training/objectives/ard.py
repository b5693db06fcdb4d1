"""ARD: a student that answers attacked images as a robust teacher answers clean ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from tempering.attacks.pgd import PGD
from tempering.core.threats import Threat
from tempering.training.cost import Cost
from tempering.training.objective import Batch, InnerMaximization, Losses, require_between
from tempering.training.teacher import Distillation, soft_divergence


@dataclass(frozen=True)
class ARD(Distillation):
    """(1 - alpha) * CE(S(x), y) + alpha * t^2 * KL(T_t(x) || S_t(x_adv)), x_adv made by PGD.

    S is the network, T the teacher, t the temperature of both. Goldblum et al., 'Adversarially
    robust distillation', 2020, equation 4.

    Attributes:
        teacher: A run folder, a `.safetensors` file with its manifest beside it, or
            `file.py:factory`; from Python also a network.
        alpha: Weight of the divergence.
        steps: Steps of PGD.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.
        temperature: What logits are divided by.

    Raises:
        UsageError: If a parameter makes no sense, or there is no teacher.
    """

    name: ClassVar[str] = "ard"
    source: ClassVar[str] = "Goldblum et al., 2020"
    inner_maximization: ClassVar[InnerMaximization] = "attack"

    temperature: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "temperature", self.temperature, 1e-3, math.inf)
        _ = self.attack

    @property
    def attack(self) -> PGD:
        """The attack that makes x_adv."""
        return PGD(self.steps, self.step_size, until_fooled=False)

    def require(self, threat: Threat, steps: int) -> None:
        """PGD knows the threat, and the warm-up ends before training does."""
        self.attack.require(threat)
        super().require(threat, steps)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """The clean and the adversarial image."""
        return Cost(2, 2)

    def perturb(self, batch: Batch) -> Batch:
        """PGD on every sample, and the teacher's soft labels."""
        return self.taught(batch.with_x_adv(batch.attack(self.attack)), self.temperature)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each sample; clean and adversarial images go through in one pass."""
        clean, adversarial = model(torch.cat([batch.x, batch.perturbed])).float().chunk(2)
        natural = F.cross_entropy(clean, batch.y, reduction="none")
        apart = soft_divergence(batch.targets, adversarial / self.temperature)
        distilled = self.temperature**2 * apart
        scalars = {"clean_loss": natural.mean(), "distillation": distilled.mean()}
        loss = (1 - self.alpha) * natural + self.alpha * distilled
        return Losses(loss, adversarial.detach(), scalars)
