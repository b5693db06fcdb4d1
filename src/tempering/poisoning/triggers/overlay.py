"""A picture laid over the image: patches and blended triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tempering.poisoning.triggers.base import Trigger


@dataclass(frozen=True, eq=False, repr=False)
class Overlay(Trigger):
    """Mixes images with a picture: `(1 - mask) x + mask values`.

    Attributes:
        values: The picture, in [0, 1], shape (c, h, w).
        mask: Opacity of each pixel, in [0, 1], shape (h, w): 1 replaces it, 0 leaves it.
    """

    kind: ClassVar[str] = "overlay"

    mask: Tensor

    def change(self, x: Tensor) -> Tensor:
        """Images with the picture over them."""
        mask = self.mask.to(x)
        return x * (1 - mask) + self.values.to(x) * mask

    @property
    def size(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return tuple(self.values.shape)
