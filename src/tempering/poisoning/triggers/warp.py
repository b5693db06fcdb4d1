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
        height, width = self.size
        rows = torch.arange(height, device=x.device, dtype=x.dtype)
        columns = torch.arange(width, device=x.device, dtype=x.dtype)
        moved = self.values.to(x)
        row = _unit(rows[:, None] + moved[..., 1], height)
        column = _unit(columns[None, :] + moved[..., 0], width)
        grid = torch.stack([column, row], dim=-1).expand(len(x), -1, -1, -1)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=True)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width."""
        return tuple(self.values.shape[:2])


def _unit(place: Tensor, size: int) -> Tensor:
    """Pixel numbers as places in [-1, 1]."""
    return (2 * place / max(1, size - 1) - 1).clamp(-1.0, 1.0)


def smooth_field(noise: Tensor, height: int, width: int, strength: float) -> Tensor:
    """A field of displacements that a few random ones span, by bicubic interpolation.

    Args:
        noise: Displacements on a coarse grid, shape (2, k, k), in [-1, 1].
        height: Of the images.
        width: Of the images.
        strength: Mean absolute displacement, in pixels.

    Returns:
        Shape (h, w, 2), as the values of a `Warp`.
    """
    field = F.interpolate(noise[None], (height, width), mode="bicubic", align_corners=True)[0]
    return (strength * field / field.abs().mean().clamp_min(1e-6)).movedim(0, -1)
