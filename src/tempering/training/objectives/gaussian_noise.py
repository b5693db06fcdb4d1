"""Gaussian-noise training: the base classifier of randomized smoothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tempering.training.objective import (
    Batch,
    Losses,
    Objective,
    require_between,
    soft_cross_entropy,
)


@dataclass(frozen=True)
class GaussianNoise(Objective):
    """Cross-entropy on images with Gaussian noise, which is not clipped to [0, 1].

    Cohen, Rosenfeld and Kolter, 'Certified adversarial robustness via randomized smoothing',
    2019, section 3.3.

    Attributes:
        sigma: Standard deviation of the noise, in units of [0, 1].

    Raises:
        UsageError: If sigma is no finite number of at least 0.
    """

    name: ClassVar[str] = "gaussian-noise"
    source: ClassVar[str] = "Cohen, Rosenfeld and Kolter, 2019"

    sigma: float = 0.25

    def __post_init__(self) -> None:
        require_between(self.name, "sigma", self.sigma, 0.0, math.inf)

    def perturb(self, batch: Batch) -> Batch:
        """Fresh noise on every image."""
        noise = batch.streams.derive("noise").normal(batch.x.shape[1:])
        return batch.with_x_adv(batch.x + self.sigma * noise.to(batch.x.dtype))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each noisy image."""
        logits = model(batch.perturbed).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())
