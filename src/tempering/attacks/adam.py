"""Adam with one state per sample, for attacks that minimize an objective."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class PerSampleAdam:
    """First and second moments of gradients (Kingma and Ba, 2015), updated in place.

    Attributes:
        first: Shape of the images.
        second: Shape of the images.
        step: Number of gradients of each sample, shape (n,), int64.
    """

    first: Tensor
    second: Tensor
    step: Tensor

    @classmethod
    def start(cls, x: Tensor) -> PerSampleAdam:
        """The state before the first gradient."""
        step = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return cls(torch.zeros_like(x), torch.zeros_like(x), step)

    def descend(self, gradient: Tensor, rate: float | Tensor) -> Tensor:
        """The next step, to be added, at one rate or one per sample, shape (n,)."""
        self.step.add_(1)
        self.first.lerp_(gradient, 1 - _BETA_1)
        self.second.lerp_(gradient.square(), 1 - _BETA_2)
        step = self.step.to(torch.float64)
        length = rate * (1 - _BETA_2**step).sqrt() / (1 - _BETA_1**step)
        down = self.first / self.second.sqrt().add_(_TINY)
        return down.mul_(-length.to(down.dtype)[:, None, None, None])
