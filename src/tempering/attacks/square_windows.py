"""Square windows of images, one position per sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from tempering.core.random import RandomStreams


@dataclass(frozen=True, eq=False)
class SquareWindows:
    """One window per sample, all of the same size.

    Attributes:
        rows: Which rows they cover, shape (n, height), int64.
        columns: Which columns, shape (n, width), int64.
        shape: Height and width of the images.
    """

    rows: Tensor
    columns: Tensor
    shape: tuple[int, int]

    @classmethod
    def drawn(cls, streams: RandomStreams, shape: tuple[int, int], side: int) -> SquareWindows:
        """Windows of a given side at random positions, cut to the image where it is smaller."""
        device = streams.index.device
        height, width = min(side, shape[0]), min(side, shape[1])
        free = torch.tensor([shape[0] - height + 1, shape[1] - width + 1], device=device)
        top, left = (streams.uniform((2,)) * free).long().minimum(free - 1)[:, :, None].unbind(1)
        down, across = torch.arange(height, device=device), torch.arange(width, device=device)
        return cls(top + down, left + across, shape)

    def __getitem__(self, which: Tensor) -> SquareWindows:
        """The windows of some samples, by number, int64."""
        rows, columns = self.rows.index_select(0, which), self.columns.index_select(0, which)
        return replace(self, rows=rows, columns=columns)

    def mask(self) -> Tensor:
        """Masks of the windows, shape (n, 1, h, w), bool."""
        nowhere = self.rows.new_zeros(len(self.rows), 1, *self.shape, dtype=torch.bool)
        return self.put(nowhere, True)

    def of(self, x: Tensor) -> Tensor:
        """The content of the windows, shape (n, c, height, width)."""
        inside = x.flatten(2).gather(2, self._places.expand(-1, x.shape[1], -1))
        return inside.view(*x.shape[:2], self.rows.shape[1], self.columns.shape[1])

    def put(self, x: Tensor, values: Tensor | float) -> Tensor:
        """Write values into the windows.

        Args:
            x: Shape (n, c, h, w); changed in place.
            values: Shape (n, c, height, width), or one number.
        """
        out = x.contiguous()
        flat, places = out.view(*x.shape[:2], -1), self._places.expand(-1, x.shape[1], -1)
        if isinstance(values, Tensor):
            flat.scatter_(2, places, values.flatten(2))
        else:
            flat.scatter_(2, places, values)
        return out

    @cached_property
    def _places(self) -> Tensor:
        """Indices of the pixels in a flattened channel, shape (n, 1, height * width), int64.

        Indexing by these is several times as fast as by row and column.
        """
        places = (self.rows * self.shape[1])[:, :, None] + self.columns[:, None, :]
        return places.flatten(1)[:, None]
