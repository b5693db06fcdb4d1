"""Free adversarial training: one backward pass for the weights and for the perturbation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.steps import steepest
from tempering.core.threats import Threat
from tempering.training.inner_ascent import require_climbable
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Losses,
    Warmup,
    require_count,
    soft_cross_entropy,
)
from tempering.training.objectives.pgd_training import PGDTraining

DELTA = "delta"
"""Name of the perturbation that is carried from step to step."""


@dataclass(frozen=True)
class Free(Warmup):
    """Cross-entropy on perturbed samples; each batch is replayed, and its perturbation grows.

    Shafahi et al., 'Adversarial training for free!', 2019, algorithm 1. A step costs one
    forward and one backward pass, whose gradient moves both the weights and the perturbation,
    by eps. The next batch starts from the perturbation of the last one. A step of training is
    an update of the weights, so an epoch has `m` times as many.

    Attributes:
        m: Steps for which a batch is used.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "free"
    source: ClassVar[str] = "Shafahi et al., 2019"
    inner_maximization: ClassVar[InnerMaximization] = "own"
    single_samples: ClassVar[bool] = False

    m: int = 8
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self.name, "m", self.m, 1)

    def multi_step(self) -> PGDTraining:
        """PGD training."""
        return PGDTraining(eps_warmup_steps=self.eps_warmup_steps)

    def require(self, threat: Threat, steps: int) -> None:
        """The threat can be climbed in, and each batch is replayed to its end."""
        require_climbable(self.name, threat)
        super().require(threat, steps)

    def replays(self) -> int:
        """`m`."""
        return self.m

    def perturb(self, batch: Batch) -> Batch:
        """Images with the perturbation of the step before."""
        batch.require_one_process(self.name)
        delta = batch.carried.get(DELTA)
        if delta is None or delta.shape != batch.x.shape:
            return batch.with_x_adv(batch.x.clone())
        return batch.with_x_adv(batch.threat.project(batch.x + delta.to(batch.x.dtype), batch.x))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each perturbed sample; its backward pass reaches the image."""
        logits = model(batch.perturbed.requires_grad_(True)).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())

    def carry(self, batch: Batch) -> Mapping[str, Tensor]:
        """The perturbation after a step of length eps along the gradient of this pass."""
        x_adv, gradient = batch.perturbed.detach(), batch.perturbed.grad
        if gradient is None or batch.threat.eps == 0:
            return {DELTA: x_adv - batch.x}
        # the gradient of a trimmed sample is 0, that of the others is scaled by its weight
        with torch.no_grad():
            step = steepest(batch.threat, x_adv, batch.x, gradient, batch.threat.eps)
            return {DELTA: batch.threat.project(x_adv + step, batch.x) - batch.x}
