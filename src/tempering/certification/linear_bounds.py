"""Linear lower and upper bounds of elementwise functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Adjustable(ABC):
    """A relaxation with parameters that may be optimised: any value in [floor, 1] is sound.

    Attributes:
        floor: The least value of each.
    """

    floor: float = 0.0

    @property
    @abstractmethod
    def has_choice(self) -> bool:
        """Whether any parameter is free."""

    @abstractmethod
    def start(self, rows: Tensor) -> Tensor:
        """The values that `pull` takes by default, for the sample of each row."""


@dataclass(frozen=True, eq=False)
class LinearBounds(Adjustable):
    """For each number z: low_slope z + low_offset <= f(z) <= high_slope z + high_offset.

    Attributes:
        low_slope: Shape (n, ...).
        low_offset: Shape (n, ...), or None for zeros.
        high_slope: Shape (n, ...).
        high_offset: Shape (n, ...).
        free: Where the lower slope may be any of [floor, 1] through the origin; None if nowhere.
        floor: The least such slope.
    """

    low_slope: Tensor
    low_offset: Tensor | None
    high_slope: Tensor
    high_offset: Tensor
    free: Tensor | None = None
    floor: float = 0.0

    @property
    def has_choice(self) -> bool:
        """Whether some lower slope is free."""
        return self.free is not None and bool(self.free.any())

    def start(self, rows: Tensor) -> Tensor:
        """The lower slopes."""
        return self.low_slope[rows]

    def pull(self, a: Tensor, rows: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Use the lower bound where a coefficient is positive, and the upper one elsewhere."""
        up, down = a.clamp_min(0.0), a.clamp_max(0.0)
        low = self.low_slope[rows]
        if slopes is not None and self.free is not None:
            low = torch.where(self.free[rows], slopes, low)
        constant = (down * self.high_offset[rows]).flatten(1).sum(1)
        if self.low_offset is not None:
            constant = constant + (up * self.low_offset[rows]).flatten(1).sum(1)
        return up * low + down * self.high_slope[rows], constant
