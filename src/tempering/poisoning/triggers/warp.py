"""A smooth warp of the image: its change depends on the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.poisoning.triggers.base import Trigger


@dataclass(frozen=True, eq=False, repr=False)
class Warp(Trigger):
    """Moves the pixels of an image by a fixed smooth field, with bilinear interpolation.

    Attributes:
        values: From where each pixel is taken: columns and rows to the right of and below it, in
            pixels, shape (h, w, 2). Places outside the image are moved to its border.
    """

    kind: ClassVar[str] = "warp"

    def change(self, x: Tensor) -> Tensor:
        """Warped images."""
        return warped(x, self.values.expand(len(x), -1, -1, -1))

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width."""
        return tuple(self.values.shape[:2])


def warped(x: Tensor, fields: Tensor) -> Tensor:
    """Images whose pixels are each taken from elsewhere, with bilinear interpolation.

    Args:
        x: Images, shape (n, c, h, w), float.
        fields: One field for each image, as the values of a `Warp`, shape (n, h, w, 2).

    Returns:
        Shape of x.
    """
    height, width = x.shape[2:]
    moved = fields.to(x)
    row = torch.arange(height, device=x.device)[:, None] + moved[..., 1]
    column = torch.arange(width, device=x.device) + moved[..., 0]
    grid = torch.stack([_unit(column, width), _unit(row, height)], dim=-1)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=True)


def _unit(place: Tensor, size: int) -> Tensor:
    """Pixel numbers as places in [-1, 1]."""
    return (2 * place / max(1, size - 1) - 1).clamp(-1.0, 1.0)


def smooth_fields(noise: Tensor, height: int, width: int, strength: float) -> Tensor:
    """Fields of displacements that a few random ones span, by bicubic interpolation.

    Args:
        noise: Displacements on coarse grids, shape (n, 2, k, k), in [-1, 1].
        height: Of the images.
        width: Of the images.
        strength: Mean absolute displacement in each field, in pixels.

    Returns:
        Shape (n, h, w, 2), each as the values of a `Warp`.
    """
    fields = F.interpolate(noise, (height, width), mode="bicubic", align_corners=True)
    mean = fields.abs().flatten(1).mean(1).clamp_min(1e-6)
    return (strength * fields / mean[:, None, None, None]).movedim(1, -1)
