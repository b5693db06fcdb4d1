"""PGD training: cross-entropy on samples that PGD attacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tempering.training.objective import Batch, Losses, soft_cross_entropy
from tempering.training.pgd_objective import PGDObjective


@dataclass(frozen=True)
class PGDTraining(PGDObjective):
    """Cross-entropy on samples attacked by PGD.

    Madry et al., 'Towards deep learning models resistant to adversarial attacks', 2018, section
    2.1. Single-step objectives that overfit are replaced by it.

    Attributes:
        steps: Steps of PGD.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "pgd"
    source: ClassVar[str] = "Madry et al., 2018"

    steps: int = 10
    step_size: float | None = None
    eps_warmup_steps: int = 0

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each adversarial sample."""
        logits = model(batch.perturbed).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())
