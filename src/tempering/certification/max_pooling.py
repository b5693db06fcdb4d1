"""Bounds of max pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.precision import UNIT64

_OUTSIDE = -1e300
"""Value of the padding: never the maximum."""


@dataclass(frozen=True)
class PoolingWindows:
    """Geometry of pooling windows.

    Attributes:
        kernel: Height and width.
        stride: Along both dimensions.
        padding: Along both dimensions, the same at both ends; never the largest.
        dilation: Along both dimensions.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def cut(self, z: Tensor, fill: float) -> Tensor:
        """All windows, shape (n, channels, numbers in a window, windows)."""
        rows, columns = self.padding
        padded = F.pad(z, (columns, columns, rows, rows), value=fill)
        flat = F.unfold(padded, self.kernel, self.dilation, 0, self.stride)
        return flat.view(len(z), z.shape[1], -1, flat.shape[2])

    def gather(self, windows: Tensor, size: Sequence[int]) -> Tensor:
        """The transpose of `cut`: sums over windows, shape (n, channels, *size)."""
        rows, columns = self.padding
        padded = (size[0] + 2 * rows, size[1] + 2 * columns)
        whole = F.fold(windows.flatten(1, 2), padded, self.kernel, self.dilation, 0, self.stride)
        return whole[:, :, rows : rows + size[0], columns : columns + size[1]]


@dataclass(frozen=True, eq=False)
class MaxPooling(Nonlinear):
    """Max-pooling.

    Attributes:
        windows: Where windows lie.
    """

    windows: PoolingWindows

    def _pool(self, z: Tensor) -> Tensor:
        at = self.windows
        return F.max_pool2d(z, at.kernel, at.stride, at.padding, at.dilation)

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Map both ends; there is no rounding error."""
        out = IntervalTensor(self._pool(given[0].low), self._pool(given[0].high))
        lost = (given[0].low[0].numel() + 256) * UNIT64 * 4 * self._pool(given[0].size())
        return out, lost

    def _contenders(self, given: IntervalTensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Ends in windows, the position of the largest lower end, and what may exceed it."""
        low, high = (self.windows.cut(end, _OUTSIDE) for end in given)
        best = low.argmax(2, keepdim=True)
        others = torch.ones_like(low, dtype=torch.bool).scatter(2, best, False)
        return low, high, best, others & (high > low.gather(2, best))

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """All entries of windows in which more than one may be the maximum."""
        low, _, _, rivals = self._contenders(given)
        open_ = rivals.any(2, keepdim=True) & (low > _OUTSIDE)
        counts = self.windows.gather(open_.to(low), given.low.shape[2:])
        return (counts > 0) & (given.low < given.high)

    def relax(self, given: IntervalTensor) -> Relaxed:
        """Below, the one with the largest lower end; above, the better of two.

        With m that lower end, all z are at most m + the sum of max(z_i - m, 0) over those
        that may exceed it, each below its chord; and at most the largest upper end.
        """
        low, high, best, rivals = self._contenders(given)
        floor = low.gather(2, best)
        contender = rivals.scatter(2, best, (high > low).gather(2, best))
        width = (high - low).where(contender, torch.ones_like(low))
        zero = torch.zeros_like(low)
        # the best one never falls below m, so its own term is exact: a chord of slope 1
        slope = torch.where(contender, (high - floor) / width, zero).clamp_max(1.0)
        slope = slope.scatter(2, best, 1.0)
        chords = floor[:, :, 0] - (slope * torch.where(slope > 0, low, zero)).sum(2)
        top = high.amax(2)
        settled = ~rivals.any(2)
        middle = torch.where(slope > 0, (low + high) / 2, zero)
        at_middle = (slope * middle).sum(2) + chords
        flat = (top < at_middle) & ~settled
        slope = torch.where(flat[:, :, None], zero, slope)
        offset = torch.where(flat, top, chords)
        offset = torch.where(settled, torch.zeros_like(offset), offset)
        return Relaxed(self.windows, tuple(given.low.shape[2:]), best, slope, offset)


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Linear bounds of max-pooling.

    Attributes:
        windows: Where windows lie.
        size: Of an input, (height, width).
        best: Place of the lower bound in each window, shape (n, channels, 1, windows).
        slope: Of the upper bound, shape (n, channels, numbers in a window, windows).
        offset: Of the upper bound, shape (n, channels, windows).
    """

    windows: PoolingWindows
    size: tuple[int, ...]
    best: Tensor
    slope: Tensor
    offset: Tensor

    def pull(self, a: Tensor, rows: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Use the lower bound where a coefficient is positive, and the upper one elsewhere."""
        flat = a.flatten(2)
        up, down = flat.clamp_min(0.0), flat.clamp_max(0.0)
        whole = down[:, :, None] * self.slope[rows]
        whole = whole.scatter_add(2, self.best[rows], up[:, :, None])
        constant = (down * self.offset[rows]).flatten(1).sum(1)
        return self.windows.gather(whole, self.size), constant
