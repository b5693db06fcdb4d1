"""JPEG in torch: the steps of the codec with a rounding of one's choice."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Steps of quantisation at quality 50 (ITU T.81, annex K)."""

_TO_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
"""Colours as the JFIF standard converts them."""


def soft_round(values: Tensor) -> Tensor:
    """Round with a gradient: the rounded value, half of what rounding removed, and its cube.

    The cube is that of Shin and Song, 'JPEG-resistant adversarial images', 2017. Alone it has
    no gradient at whole numbers, which most coefficients are at low quality.

    Example:
        >>> soft_round(torch.tensor([1.5, 1.0, 3.25])).tolist()
        [1.625, 1.0, 3.140625]
    """
    whole = values.detach().round()
    removed = values - whole
    return whole + removed / 2 + removed**3


def differentiable_jpeg(
    x: Tensor, quality: int, rounding: Callable[[Tensor], Tensor] = soft_round
) -> Tensor:
    """JPEG-code images: colour conversion, 4:2:0, cosine transform, quantisation, and back.

    Args:
        x: Images in [0, 1], shape (n, 1 or 3, h, w).
        quality: As libjpeg counts it, 1 to 100.
        rounding: Of the quantised coefficients; with `torch.round` the values are those of a
            codec, up to its integer arithmetic.

    Returns:
        Shape and dtype of x, not clamped.

    Example:
        >>> differentiable_jpeg(torch.rand(1, 3, 20, 20), 75).shape
        torch.Size([1, 3, 20, 20])
    """
    height, width = x.shape[-2:]
    colour = x.shape[1] == 3
    unit = 16 if colour else 8
    filled = (0, -width % unit, 0, -height % unit)
    levels = F.pad(x, filled, mode="replicate") * 255
    if not colour:
        coded = _quantised(levels - 128, _LUMINANCE, quality, rounding) + 128
    else:
        ycc = _mixed(levels, _TO_YCBCR)
        grey = _quantised(ycc[:, :1] - 128, _LUMINANCE, quality, rounding) + 128
        chroma = F.avg_pool2d(ycc[:, 1:], 2)
        chroma = _quantised(chroma, _CHROMINANCE, quality, rounding)
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")
        coded = _mixed(torch.cat([grey, chroma], 1), _TO_RGB)
    return coded[..., :height, :width] / 255


def _mixed(x: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("oc,nchw->nohw", x.new_tensor(matrix), x)


def _quantised(
    x: Tensor,
    steps: tuple[tuple[int, ...], ...],
    quality: int,
    rounding: Callable[[Tensor], Tensor],
) -> Tensor:
    """Quantise the cosine transform of blocks of 8 x 8 pixels."""
    n, channels, height, width = x.shape
    cosines = _cosines(x)
    blocks = x.reshape(n, channels, height // 8, 8, width // 8, 8)
    table = _table(x, steps, quality)[:, None, :]
    waves = torch.einsum("ui,vj,ncaibj->ncaubv", cosines, cosines, blocks)
    kept = rounding(waves / table) * table
    return torch.einsum("ui,vj,ncaubv->ncaibj", cosines, cosines, kept).reshape(x.shape)


def _cosines(x: Tensor) -> Tensor:
    """The orthonormal cosine transform of 8 values, shape (8, 8), frequencies in rows."""
    at = torch.arange(8, dtype=torch.float64)
    waves = torch.cos((2 * at[None] + 1) * at[:, None] * math.pi / 16) / 2
    waves[0] /= math.sqrt(2)
    return waves.to(x)


def _table(x: Tensor, steps: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Steps of quantisation at a quality, as libjpeg scales them, shape (8, 8)."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(steps) * scale + 50) // 100).clamp(1, 255).to(x)
