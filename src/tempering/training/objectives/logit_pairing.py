"""Adversarial logit pairing: the logits of an image and of its adversarial copy agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from tempering.training.cost import Cost
from tempering.training.objective import Batch, Losses, require_between, soft_cross_entropy
from tempering.training.pgd_objective import PGDObjective


@dataclass(frozen=True)
class LogitPairing(PGDObjective):
    """(CE(f(x), y) + CE(f(x_adv), y)) / 2 + lam * mean squared difference of their logits.

    Kannan, Kurakin and Goodfellow, 'Adversarial logit pairing', 2018, section 3. x_adv is made
    by PGD. Pairing alone can hide gradients (Engstrom, Ilyas and Athalye, 2018): evaluate it
    with attacks without gradients too.

    Attributes:
        steps: Steps of PGD.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.
        lam: Weight of the pairing.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "alp"
    source: ClassVar[str] = "Kannan, Kurakin and Goodfellow, 2018"

    steps: int = 10
    step_size: float | None = None
    eps_warmup_steps: int = 0
    lam: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "lam", self.lam, 0.0, math.inf)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """The clean and the adversarial image."""
        return Cost(2, 2)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each sample; clean and adversarial images go through in one pass."""
        clean, adversarial = model(torch.cat([batch.x, batch.perturbed])).float().chunk(2)
        natural = soft_cross_entropy(clean, batch.targets)
        robust = soft_cross_entropy(adversarial, batch.targets)
        apart = (clean - adversarial).square().mean(1)
        scalars = {"clean_loss": natural.mean(), "pairing": apart.mean()}
        loss = (natural + robust) / 2 + self.lam * apart
        return Losses(loss, adversarial.detach(), scalars)
