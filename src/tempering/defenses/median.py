"""Median filter: each pixel becomes the median of its neighbourhood."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.core.protocols import Transform, register_defense
from tempering.defenses.requirements import require_side, whole_number

LARGEST = 255
"""Pixels a side of the largest window."""


@register_defense("median")
class MedianFilter(Transform):
    """Replace each pixel by the median of the window around it, channel by channel.

    Xu, Evans and Qi, 'Feature squeezing', 2018, call it local spatial smoothing. Images are
    continued beyond their borders by reflection, without the border pixel itself. The window of an
    even side reaches one pixel further up and left, and its median is the upper of the two middle
    values, as in SciPy; with a side of 2 it is the filter of Xu, Evans and Qi for MNIST.

    The median is one pixel of its window, and the true gradient goes to that pixel. It is not
    zero, and it breaks at least as many images as the identity would (tested), so it is declared.

    Attributes:
        window: Side of the window in pixels, at least 2.

    Raises:
        ModelError: If the window is no such number; when run, if an image has no more pixels a
            side than half of it.

    Example:
        >>> spot = torch.zeros(1, 1, 5, 5)
        >>> spot[..., 2, 2] = 1
        >>> MedianFilter(3)(spot).max()
        tensor(0.)
    """

    source = "Xu, Evans and Qi, 2018"

    def __init__(self, window: int = 3) -> None:
        super().__init__()
        self.window = whole_number("median window", window, 2, LARGEST)

    def transform(self, x: Tensor) -> Tensor:
        """Filtered images, shape and dtype of x."""
        before, height, width = self.window // 2, x.shape[-2], x.shape[-1]
        after = self.window - before - 1
        require_side(f"median with window {self.window}", x, before + 1)
        wide = F.pad(x, (before, after) * 2, mode="reflect")
        shifts = [
            wide[..., top : top + height, left : left + width]
            for top in range(self.window)
            for left in range(self.window)
        ]
        return torch.stack(shifts).kthvalue(len(shifts) // 2 + 1, dim=0).values
