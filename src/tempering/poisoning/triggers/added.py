"""A signal added to the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tempering.poisoning.triggers.base import Trigger


@dataclass(frozen=True, eq=False, repr=False)
class Added(Trigger):
    """Adds a signal: `x + values`, clipped to [0, 1].

    Attributes:
        values: The signal in pixel units, shape (h, w), the same for every channel.
    """

    kind: ClassVar[str] = "added"

    def change(self, x: Tensor) -> Tensor:
        """Images with the signal."""
        return x + self.values.to(x)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width."""
        return tuple(self.values.shape)
