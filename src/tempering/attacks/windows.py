"""Square windows of images, one place a sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tempering.core.random import Draws


@dataclass(frozen=True, eq=False)
class Windows:
    """One window a sample, all of one size.

    Attributes:
        top: First row, shape (n,), int64.
        left: First column, shape (n,), int64.
        height: Rows.
        width: Columns.
    """

    top: Tensor
    left: Tensor
    height: int
    width: int

    @classmethod
    def drawn(cls, draws: Draws, shape: tuple[int, int], side: int) -> Windows:
        """Windows of a side, or of the whole image where that is shorter, at random places."""
        height, width = min(side, shape[0]), min(side, shape[1])
        free = torch.tensor(
            [shape[0] - height + 1, shape[1] - width + 1], device=draws.index.device
        )
        place = (draws.uniform((2,)) * free).long().minimum(free - 1)
        return cls(place[:, 0], place[:, 1], height, width)

    def mask(self, shape: tuple[int, int]) -> Tensor:
        """Where the windows are, shape (n, 1, h, w), bool."""
        rows = torch.arange(shape[0], device=self.top.device)
        columns = torch.arange(shape[1], device=self.top.device)
        tall = (rows >= self.top[:, None]) & (rows < self.top[:, None] + self.height)
        wide = (columns >= self.left[:, None]) & (columns < self.left[:, None] + self.width)
        return (tall[:, :, None] & wide[:, None, :])[:, None]

    def of(self, x: Tensor) -> Tensor:
        """What is in the windows, shape (n, c, height, width)."""
        return x[self._places].movedim(3, 1)

    def put(self, x: Tensor, values: Tensor | float) -> Tensor:
        """A copy of images with other values in the windows.

        Args:
            x: Shape (n, c, h, w).
            values: Shape (n, c, height, width), or one number.
        """
        out = x.clone()
        out[self._places] = values.movedim(1, 3) if isinstance(values, Tensor) else values
        return out

    @cached_property
    def _places(self) -> tuple[Tensor, slice, Tensor, Tensor]:
        sample = torch.arange(len(self.top), device=self.top.device)[:, None, None]
        row = self.top[:, None] + torch.arange(self.height, device=self.top.device)
        column = self.left[:, None] + torch.arange(self.width, device=self.top.device)
        return sample, slice(None), row[:, :, None], column[:, None, :]
