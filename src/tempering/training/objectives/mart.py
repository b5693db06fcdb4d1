"""MART: samples that are misclassified without an attack count for more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.training.cost import Cost
from tempering.training.objective import Batch, Losses, require_between
from tempering.training.objectives.trades import divergence
from tempering.training.pgd_objective import PGDObjective


@dataclass(frozen=True)
class Mart(PGDObjective):
    """BCE(p(x_adv), y) + lam * KL(p(x) || p(x_adv)) * (1 - p_y(x)), x_adv made by PGD.

    BCE is -log p_y(x_adv) - log(1 - max over k != y of p_k(x_adv)). Wang et al., 'Improving
    adversarial robustness requires revisiting misclassified examples', 2020, section 3.2.

    Attributes:
        lam: Weight of the divergence.
        steps: Steps of PGD.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "mart"
    source: ClassVar[str] = "Wang et al., 2020"

    lam: float = 5.0
    steps: int = 10
    step_size: float | None = None
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "lam", self.lam, 0.0, math.inf)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """The clean and the adversarial image."""
        return Cost(2, 2)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each sample; clean and adversarial images go through in one pass."""
        clean, adversarial = model(torch.cat([batch.x, batch.perturbed])).float().chunk(2)
        boosted = boosted_cross_entropy(adversarial, batch.y)
        uncertainty = 1 - clean.softmax(1).gather(1, batch.y[:, None])[:, 0]
        robust = divergence(clean, adversarial) * uncertainty
        scalars = {"boosted_loss": boosted.mean(), "weighted_kl": robust.mean()}
        return Losses(boosted + self.lam * robust, adversarial.detach(), scalars)


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log p_y - log(1 - max over k != y of p_k), shape (n,); stable where p saturates.

    Args:
        logits: Shape (n, outputs).
        y: True classes, shape (n,), int64.
    """
    total = logits.logsumexp(1)
    own = logits.gather(1, y[:, None])[:, 0]
    runner_up = logits.scatter(1, y[:, None], -math.inf).argmax(1, keepdim=True)
    others = logits.scatter(1, runner_up, -math.inf).logsumexp(1)
    return (total - own) + (total - others)
