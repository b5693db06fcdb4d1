"""Adam, one state a sample: for attacks that minimise rather than climb."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8


@dataclass
class Adam:
    """First and second moments of gradients (Kingma and Ba, 2015).

    Attributes:
        first: Shape of the images.
        second: Shape of the images.
        step: Gradients seen.
    """

    first: Tensor
    second: Tensor
    step: int = 0

    @classmethod
    def start(cls, x: Tensor) -> Adam:
        """No gradient seen."""
        return cls(torch.zeros_like(x), torch.zeros_like(x))

    def keep(self, rows: Tensor) -> None:
        """Forget all samples but some."""
        self.first, self.second = self.first[rows], self.second[rows]

    def descend(self, gradient: Tensor, rate: float | Tensor) -> Tensor:
        """The next step down, to be added; rate broadcasts with the gradient."""
        self.step += 1
        self.first.lerp_(gradient, 1 - _BETA_1)
        self.second.lerp_(gradient.square(), 1 - _BETA_2)
        correction: float = (1 - _BETA_2**self.step) ** 0.5 / (1 - _BETA_1**self.step)
        return (self.first / (self.second.sqrt() + _TINY)).mul_(rate * -correction)
