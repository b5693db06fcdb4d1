"""Standard training: cross-entropy on clean images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from tempering.data.preprocessing import soft_labels
from tempering.training.objective import (
    Batch,
    Losses,
    Objective,
    require_between,
    soft_cross_entropy,
)


@dataclass(frozen=True)
class Standard(Objective):
    """Cross-entropy on clean images.

    Attributes:
        label_smoothing: Share of a label spread over all classes (Szegedy et al., 2016).

    Raises:
        UsageError: If the share is none.
    """

    name: ClassVar[str] = "standard"
    source: ClassVar[str] = "empirical risk minimization"

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require_between(self.name, "label_smoothing", self.label_smoothing, 0.0, 0.999)

    def perturb(self, batch: Batch) -> Batch:
        """Smooth the labels."""
        if not self.label_smoothing:
            return batch
        soft = soft_labels(batch.y, batch.outputs, batch.classes, self.label_smoothing)
        return replace(batch, targets=soft)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each sample."""
        logits = model(batch.x).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())
