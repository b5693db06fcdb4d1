"""Bit-depth reduction."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.protocols import Transform, register_defense
from tempering.defenses.requirements import whole_number


@register_defense("bit_depth")
class BitDepth(Transform):
    """Round pixels to 2^bits evenly spaced values from 0 to 1.

    Xu, Evans and Qi, 'Feature squeezing', 2018, section 3.1. The true gradient is 0 wherever it
    exists, so gradients pass straight through: the steps follow the identity within half a step
    (Athalye, Carlini and Wagner, 2018).

    Attributes:
        bits: Bits a channel, 1 to 8.

    Raises:
        ModelError: If bits is no such number.

    Example:
        >>> BitDepth(1)(torch.tensor([0.2, 0.7]))
        tensor([0., 1.])
    """

    input_gradient = "straight-through"
    monotone = True
    stepwise = True
    source = "Xu, Evans and Qi, 2018"

    def __init__(self, bits: int = 4) -> None:
        super().__init__()
        self.bits = whole_number("bit_depth bits", bits, 1, 8)

    def thresholds(self, shape: tuple[int, int, int]) -> Tensor | None:  # noqa: ARG002
        """Of one bit 1/2; None of more."""
        return torch.tensor(0.5, dtype=torch.float64) if self.bits == 1 else None

    def transform(self, x: Tensor) -> Tensor:
        """Rounded images, shape and dtype of x."""
        steps = (1 << self.bits) - 1
        return torch.round(x * steps) / steps
