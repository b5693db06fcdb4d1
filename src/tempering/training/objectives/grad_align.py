"""GradAlign: FGSM, and input gradients that agree within the ball."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.attacks.fgsm import FGSM
from tempering.core.engine import bare_module
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
class GradAlign(Warmup):
    """CE(f(x_adv), y) + lam * (1 - cos(gradient at x, gradient at a random point of the ball)).

    Andriushchenko and Flammarion, 'Understanding and improving fast adversarial training',
    2020, section 4. x_adv is made by FGSM; gradients are those of the cross-entropy in the
    image, and the second term is differentiated through them.

    Attributes:
        lam: Weight of the misalignment; larger for larger eps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "grad-align"
    source: ClassVar[str] = "Andriushchenko and Flammarion, 2020"
    inner_maximization: ClassVar[InnerMaximization] = "attack"
    single_samples: ClassVar[bool] = False

    lam: float = 0.2
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "lam", self.lam, 0.0, math.inf)

    def multi_step(self) -> PGDTraining:
        """PGD training."""
        return PGDTraining(eps_warmup_steps=self.eps_warmup_steps)

    def require(self, threat: Threat, steps: int) -> None:
        """FGSM knows the threat, and the warm-up ends before training does."""
        FGSM().require(threat)
        super().require(threat, steps)

    def inner_passes(self) -> Cost:
        """One pass in both directions."""
        return Cost(1, 1)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """x_adv, and two gradients that are differentiated once more."""
        return Cost(3, 5)

    def perturb(self, batch: Batch) -> Batch:
        """FGSM on every sample."""
        return batch.with_x_adv(batch.attack(FGSM()))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each adversarial sample, and the misalignment at its image."""
        logits = model(batch.perturbed).float()
        loss = soft_cross_entropy(logits, batch.targets)
        near = batch.threat.sample(batch.x, batch.streams.derive("alignment"))
        network = bare_module(model)
        apart = 1 - alignment(network, batch.x, near, batch.targets)
        scalars = {"adversarial_loss": loss.mean(), "misalignment": apart.mean()}
        return Losses(loss + self.lam * apart, logits.detach(), scalars)


def alignment(model: nn.Module, x: Tensor, near: Tensor, targets: Tensor) -> Tensor:
    """The cosine of the loss's gradients at two points, shape (n,); 1 where one of them is 0.

    Args:
        model: The network.
        x: Images, shape (n, c, h, w).
        near: Points near them, shape of x.
        targets: Soft labels, shape (n, outputs).
    """
    first, second = (_gradient(model, point, targets).flatten(1) for point in (x, near))
    known = (first.detach() != 0).any(1) & (second.detach() != 0).any(1)
    ones = torch.ones_like(first)  # a cosine of zeros has no gradient
    first, second = (torch.where(known[:, None], part, ones) for part in (first, second))
    return F.cosine_similarity(first, second, dim=1, eps=1e-20)


def _gradient(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    leaf = x.detach().clone().requires_grad_(True)
    loss = soft_cross_entropy(model(leaf), targets).sum()
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
    return gradient
