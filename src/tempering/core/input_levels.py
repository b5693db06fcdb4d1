"""The output values of step functions at a model's input, and the inputs that have each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.input_stages import InputStages

_WHOLE = {torch.float32: torch.int32, torch.float64: torch.int64}
"""Integers of the same bits, which are ordered as the numbers from 0 up."""


@dataclass(frozen=True, eq=False)
class InputLevels:
    """The levels of each pixel behind a staircase, lowest first.

    A pixel of fewer levels than others has infinite inputs in the rest.

    Attributes:
        outputs: What the stages answer, shape (levels, c, h, w).
        low: The least input in [0, 1] with that output, shape of outputs.
        high: The largest one.
    """

    outputs: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, front: InputStages, x: Tensor, most: int) -> InputLevels | None:
        """Find them by bisection, to the last bit.

        Args:
            front: Monotone transforms.
            x: Images, shape (n, c, h, w); their shape, dtype and device count.
            most: Levels of a pixel.

        Returns:
            None if a pixel has more levels, as behind a function that is no staircase.
        """
        zero, one = torch.zeros_like(x[:1]), torch.ones_like(x[:1])
        outputs, lows, highs = list[Tensor](), list[Tensor](), list[Tensor]()
        low, left = zero, zero == 0
        while bool(left.any()):
            if len(outputs) == most:
                return None
            value = front(low)
            high = _last(front, value, low)
            outputs.append(value)
            lows.append(low.masked_fill(~left, torch.inf))
            highs.append(high.masked_fill(~left, torch.inf))
            left = left & (high < 1)
            low = torch.where(left, torch.nextafter(high, 2 * one), one)
        return cls(torch.cat(outputs), torch.cat(lows), torch.cat(highs))

    def images(self, x: Tensor) -> Tensor:
        """The inputs nearest to those of images that have each output.

        Args:
            x: Images, shape (n, c, h, w).

        Returns:
            Shape (n, levels, c, h, w); infinite where a pixel has no such level.
        """
        return torch.maximum(torch.minimum(x[:, None], self.high), self.low)


def _last(front: InputStages, value: Tensor, low: Tensor) -> Tensor:
    """The largest inputs from given ones to 1 whose outputs are given values."""
    whole = _WHOLE[low.dtype]
    under, above = low.view(whole), torch.ones_like(low).view(whole)
    while bool((under < above).any()):
        middle = above - (above - under) // 2
        same = front(middle.view(low.dtype)) == value
        under, above = torch.where(same, middle, under), torch.where(same, above, middle - 1)
    return under.view(low.dtype)
