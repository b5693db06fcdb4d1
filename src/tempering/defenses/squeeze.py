"""Contrast squeeze: an input stage that saturates all but clear greys."""

from __future__ import annotations

from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform, register_defense


@register_defense("squeeze")
class Squeeze(Transform):
    """Stretch [low, high] to [0, 1] and clamp what lies outside.

    On strokes that are nearly black or white it removes most of a perturbation, and with it
    the gradient: attacks that follow the true gradient see nothing where pixels saturate and
    overstate robustness by several points. Gradients pass straight through (Athalye, Carlini
    and Wagner, 2018, section 4.1.1), except within `core.backward.true_gradient()`.

    Attributes:
        low: Pixel value that becomes 0, at least 0.
        high: Pixel value that becomes 1, at most 1.

    Raises:
        ModelError: Unless 0 <= low < high <= 1.

    Example:
        >>> import torch
        >>> Squeeze(0.25, 0.75)(torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """

    input_gradient = "straight-through"
    monotone = True

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        if not 0 <= low < high <= 1:
            raise ModelError(f"squeeze ({low}, {high}): give 0 <= low < high <= 1")
        self.low = float(low)
        self.high = float(high)

    def transform(self, x: Tensor) -> Tensor:
        """Squeezed images, shape and dtype of x, values in [0, 1]."""
        return ((x - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
