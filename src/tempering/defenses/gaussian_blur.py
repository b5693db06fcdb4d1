"""Gaussian blur."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.core.protocols import Transform, register_defense
from tempering.defenses.requirements import number_above_zero


@register_defense("gaussian_blur")
class GaussianBlur(Transform):
    """Convolve each channel with a Gaussian, cut at 3 standard deviations.

    Xu, Evans and Qi, 'Feature squeezing', 2018, section 3.2, name it beside the median filter.
    Beyond the borders there is nothing: the weights of the pixels that exist add up to 1.
    The blur is linear, so its true gradient tells an attack all there is to know. Certificates
    bound it like any other convolution.

    Attributes:
        sigma: Standard deviation in pixels, above 0 and at most 20.

    Raises:
        ModelError: If sigma is no such number.

    Example:
        >>> even = torch.full((1, 1, 4, 4), 0.5)
        >>> bool(torch.allclose(GaussianBlur(1.0)(even), even))
        True
    """

    source = "Xu, Evans and Qi, 2018"

    kernel: Tensor

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__()
        self.sigma = number_above_zero("gaussian_blur sigma", sigma, 20)
        radius = math.ceil(3 * self.sigma)
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        line = torch.exp(-(offsets**2) / (2 * self.sigma**2))
        kernel = torch.outer(line, line) / line.sum() ** 2
        self.register_buffer("kernel", kernel.float()[None, None], persistent=False)

    def transform(self, x: Tensor) -> Tensor:
        """Blurred images, shape and dtype of x."""
        channels, radius = x.shape[1], self.kernel.shape[-1] // 2
        kernel = self.kernel.to(x.dtype).repeat(channels, 1, 1, 1)
        inside = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=self.kernel.device)
        share = F.conv2d(inside, self.kernel.to(x.dtype), padding=radius)
        return F.conv2d(x, kernel, padding=radius, groups=channels) / share
