"""Thermometer coding."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform, register_defense
from tempering.defenses.requirements import require_finite, whole_number


@register_defense("thermometer")
class Thermometer(Transform):
    """Code each pixel by the thresholds that it exceeds: one channel a threshold.

    Buckman, Roy, Raffel and Goodfellow, 'Thermometer encoding', 2018. Channel k of a pixel x is
    1 where x > k / levels, for k from 0 to levels - 1. The channels of one input channel follow
    each other. The classifier takes `levels` times the channels of the images.

    The code is a staircase without a gradient. Attacks use clamp(x - k / levels, 0, 1), the
    approximation with which Athalye, Carlini and Wagner (2018, section 5.1.1) broke it.

    Attributes:
        levels: Thresholds a channel, 2 to 256.

    Raises:
        ModelError: If levels is no such number; when run, if pixels are not finite.

    Example:
        >>> Thermometer(4)(torch.full((1, 1, 1, 1), 0.6)).flatten()
        tensor([1., 1., 1., 0.])
    """

    input_gradient = "approximation"
    source = "Buckman, Roy, Raffel and Goodfellow, 2018"

    def __init__(self, levels: int = 16) -> None:
        super().__init__()
        self.levels = whole_number("thermometer levels", levels, 2, 256)

    def shape_after(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of the codes."""
        channels, height, width = shape
        return channels * self.levels, height, width

    def shape_before(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of images that have codes of a shape.

        Raises:
            ModelError: If the channels are no multiple of the levels.
        """
        channels, height, width = shape
        if channels % self.levels:
            raise ModelError(
                f"thermometer with {self.levels} levels before a classifier of {channels} "
                f"channels: give a classifier of {self.levels} channels for each of the images'"
            )
        return channels // self.levels, height, width

    def transform(self, x: Tensor) -> Tensor:
        """Codes, shape (n, c * levels, h, w), 0 or 1, dtype of x."""
        require_finite("thermometer", x)
        return (self._excess(x) > 0).to(x.dtype).flatten(1, 2)

    def approximation(self, x: Tensor) -> Tensor:
        """How far pixels exceed the thresholds, shape (n, c * levels, h, w)."""
        return self._excess(x).clamp(0, 1).flatten(1, 2)

    def _excess(self, x: Tensor) -> Tensor:
        """Pixels less thresholds, shape (n, c, levels, h, w)."""
        thresholds = torch.arange(self.levels, dtype=x.dtype, device=x.device) / self.levels
        return x[:, :, None] - thresholds[:, None, None]
