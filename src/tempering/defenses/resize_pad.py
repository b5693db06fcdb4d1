"""Random resizing and padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform, register_defense
from tempering.defenses.requirements import number_above_zero


@register_defense("resize_pad")
class ResizePad(Transform):
    """Resize each image to a random size, and pad it with black at a random place.

    Xie, Wang, Zhang, Ren and Yuille, 'Mitigating adversarial effects through randomization',
    2018, draw sizes from 299 to 330 for images of 299 and pad to 331. Here sizes are shares of
    the image's own; with `largest` = 1 the output has the size of the input, with more it has
    the largest size and needs a classifier that takes it. Resizing is bilinear, and every
    image of a batch has its own draw.

    A draw is linear, so its true gradient is exact; average it over draws (`attacks.EOT`).

    Attributes:
        smallest: Smallest share of the height and width, above 0.
        largest: Largest share, above `smallest` and at most 4.

    Raises:
        ModelError: If shares are no such numbers, or when run, if an image is so small that all
            sizes are one.

    Example:
        >>> ResizePad(0.8)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    random = True
    source = "Xie, Wang, Zhang, Ren and Yuille, 2018"

    def __init__(self, smallest: float = 0.8, largest: float = 1.0) -> None:
        super().__init__()
        self.smallest = number_above_zero("resize_pad smallest", smallest, 4)
        self.largest = number_above_zero("resize_pad largest", largest, 4)
        if not self.smallest < self.largest:
            raise ModelError(
                f"resize_pad smallest {smallest!r} and largest {largest!r}: "
                "give a smallest share below the largest"
            )

    def shape_after(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of the padded images."""
        channels, height, width = shape
        return channels, self._padded(height), self._padded(width)

    def shape_before(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of images that are padded to a shape.

        Raises:
            ModelError: If there are none.
        """
        channels, *sides = shape
        before = [next((n for n in range(1, s + 1) if self._padded(n) == s), 0) for s in sides]
        if 0 in before:
            raise ModelError(
                f"resize_pad with largest {self.largest:g} before a classifier of images of shape "
                f"{tuple(shape)}: no images are padded to that size; give another largest"
            )
        return channels, before[0], before[1]

    def _padded(self, side: int) -> int:
        return max(side, round(self.largest * side))

    def transform(self, x: Tensor) -> Tensor:
        """Padded images, shape (n, *shape_after), dtype of x."""
        n, _, height, width = x.shape
        least, most = max(1, round(self.smallest * height)), round(self.largest * height)
        if least >= most:
            raise ModelError(
                f"resize_pad ({self.smallest:g}, {self.largest:g}) on images of {height} x {width} "
                "pixels: all sizes are one; give larger images, or shares further apart"
            )
        rows = torch.randint(least, most + 1, (n,), device=x.device)
        columns = (rows * (width / height)).round().long().clamp(1, self._padded(width))
        y, inside_y = _sources(rows, height, self._padded(height))
        x_, inside_x = _sources(columns, width, self._padded(width))
        shape = (n, self._padded(height), self._padded(width))
        grid = torch.stack([x_[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
        resized = F.grid_sample(
            x, grid.to(x.dtype), "bilinear", padding_mode="border", align_corners=True
        )
        inside = inside_y[:, None, :, None] & inside_x[:, None, None, :]
        return resized * inside.to(x.dtype)


def _sources(sizes: Tensor, side: int, padded: int) -> tuple[Tensor, Tensor]:
    """Where along one side each output pixel of each image comes from.

    Args:
        sizes: Random size of each image, shape (n,).
        side: Its size before.
        padded: Size of the output.

    Returns:
        Positions in [-1, 1] as `grid_sample` counts them, and whether there is an image at all;
        shape (n, padded) both.
    """
    room = (padded - sizes + 1).float()
    start = (torch.rand(len(sizes), device=sizes.device) * room).floor().long()
    at = torch.arange(padded, device=sizes.device)[None] - start[:, None]
    position = (at + 0.5) * (side / sizes[:, None]) - 0.5
    inside = (at >= 0) & (at < sizes[:, None])
    return 2 * position / max(side - 1, 1) - 1, inside
