"""A hard threshold: pixels become 0 or 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform, register_defense


@register_defense("threshold")
class Threshold(Transform):
    """Pixels above a value become 1, all others 0.

    A perturbation changes what a network sees only where it takes a pixel across the threshold:
    behind it an L-inf ball is a box of decided and undecided pixels, and certificates are exact in
    the first layer. Most grey pixels of photographs are near the threshold, so it helps on
    drawings and digits alone. The true gradient is 0, so gradients pass straight through (Athalye,
    Carlini and Wagner, 2018, section 4.1.1).

    Attributes:
        at: The value, above 0 and below 1; or one for each channel.

    Raises:
        ModelError: If a value is not between 0 and 1.

    Example:
        >>> Threshold(0.4)(torch.tensor([0.2, 0.4, 0.7]))
        tensor([0., 0., 1.])
    """

    input_gradient = "straight-through"
    monotone = True
    stepwise = True
    source = "Xu, Evans and Qi, 2018"

    def __init__(self, at: float | Sequence[float] = 0.5) -> None:
        super().__init__()
        values = list(at) if isinstance(at, Sequence) else [at]
        if not values or not all(
            isinstance(v, int | float) and math.isfinite(v) and 0 < v < 1 for v in values
        ):
            raise ModelError(
                f"threshold at {at!r}: give a number above 0 and below 1, or one for each channel"
            )
        self.at = [float(v) for v in values] if isinstance(at, Sequence) else float(at)

    def thresholds(self, shape: tuple[int, int, int]) -> Tensor:  # noqa: ARG002
        """One for each channel, shape (channels, 1, 1)."""
        return torch.tensor(self.at, dtype=torch.float64).reshape(-1, 1, 1)

    def transform(self, x: Tensor) -> Tensor:
        """Images of 0 and 1, shape and dtype of x."""
        at = torch.as_tensor(self.at, dtype=x.dtype, device=x.device)
        if at.ndim and at.numel() > 1 and x.shape[-3] != at.numel():
            raise ModelError(
                f"threshold with {at.numel()} values on images of {x.shape[-3]} channels: "
                "give one for each channel"
            )
        return (x > (at.reshape(-1, 1, 1) if at.ndim else at)).to(x.dtype)
