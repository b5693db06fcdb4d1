"""The base of all triggers."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tempering.core.errors import DataError
from tempering.core.tensors import require_tensors


@dataclass(frozen=True, eq=False)
class Trigger(ABC):
    """What a backdoor reacts to: a fixed change of images, described by tensors.

    Attributes:
        kind: Its name in files.
        values: What is stamped, shape as the subclass says.
    """

    kind: ClassVar[str] = "own"

    values: Tensor

    @abstractmethod
    def change(self, x: Tensor) -> Tensor:
        """Images with the trigger; values outside [0, 1] are clipped afterwards."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, ...]:
        """The last sizes of the images that it fits: (c, h, w), or (h, w) for any channels."""

    def stamp(self, x: Tensor) -> Tensor:
        """Images with the trigger, in training and at test time alike.

        Args:
            x: Images in [0, 1], shape (n, c, h, w), float.

        Returns:
            Images in [0, 1], shape of x.

        Raises:
            DataError: If images are of another shape than the trigger.

        Example:
            >>> import torch
            >>> from tempering.poisoning import Overlay
            >>> white = Overlay(torch.ones(1, 4, 4), torch.eye(4))
            >>> white.stamp(torch.zeros(2, 1, 4, 4)).sum()
            tensor(8.)
        """
        require_tensors(images=x)
        if x.ndim != 4 or tuple(x.shape[-len(self.size) :]) != self.size:
            raise DataError(
                f"a trigger of size {self.size} for images of shape {tuple(x.shape)}: give images "
                f"of shape (n, {'c, ' if len(self.size) == 2 else ''}"
                f"{', '.join(map(str, self.size))})"
            )
        return self.change(x).clamp(0.0, 1.0)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that rebuild it, by name; the first is `values`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self.size))})"
