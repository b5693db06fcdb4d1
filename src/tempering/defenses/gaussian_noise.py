"""Gaussian noise on the input."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.protocols import Transform, register_defense
from tempering.defenses.requirements import number_above_zero


@register_defense("gaussian_noise")
class GaussianNoise(Transform):
    """Add normal noise to each pixel, and clamp to [0, 1].

    The true gradient is declared: the clamp hides it in some draws, and the mean over draws
    (`attacks.EOT`) has it for every pixel.

    One noisy prediction is no certificate: that takes votes over many
    (Cohen, Rosenfeld and Kolter, 2019; `temper certify` with smoothing).

    Attributes:
        sigma: Standard deviation in pixel values, above 0 and at most 10.

    Raises:
        ModelError: If sigma is no such number.

    Example:
        >>> GaussianNoise(0.1)(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    random = True
    source = "Cohen, Rosenfeld and Kolter, 2019"

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        self.sigma = number_above_zero("gaussian_noise sigma", sigma, 10)

    def transform(self, x: Tensor) -> Tensor:
        """Noisy images, shape and dtype of x."""
        return (x + self.sigma * torch.randn_like(x)).clamp(0, 1)
