"""A library's network with its own preprocessing inside, from images in [0, 1] to logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.notes import note
from tempering.models.normalize import Normalize


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects to be done to images in [0, 1].

    Attributes:
        mean: Of each channel.
        std: Of each channel.
        size: Height and width; None takes images as they are.
        reversed_channels: Whether the network takes blue, green and red.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None
    reversed_channels: bool = False


class Preprocessed(nn.Module):
    """A network behind resizing and normalisation; gradients lead through both.

    Images of another size are resized as a whole by bilinear interpolation, smoothed where they
    become smaller. They are not cropped.

    Args:
        network: From normalised images to logits.
        stages: What it expects.
        name: What messages call it.
        class_names: Of its outputs; empty if unknown.

    Example:
        >>> stages = Preprocessing((0.5,), (0.5,), size=(2, 2))
        >>> Preprocessed(nn.Flatten(), stages, "mine")(torch.ones(1, 1, 4, 4))
        tensor([[1., 1., 1., 1.]])
    """

    def __init__(
        self,
        network: nn.Module,
        stages: Preprocessing,
        name: str,
        class_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.normalize = Normalize(stages.mean, stages.std)
        self.network = network
        self.stages = stages
        self.name = name
        self.class_names = tuple(class_names)

    def forward(self, x: Tensor) -> object:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w).

        Raises:
            ModelError: If the images have another number of channels.
        """
        return self.network(self.prepared(x))

    def prepared(self, x: Tensor) -> Tensor:
        """What the network is given, shape (n, c, height, width).

        Raises:
            ModelError: If the images have another number of channels.
        """
        self.require_channels(x)
        if self.stages.reversed_channels:
            x = x.flip(1)
        prepared: Tensor = self.normalize(self._resized(x))
        return prepared

    def require_channels(self, x: Tensor) -> None:
        """Refuse images with another number of channels.

        Raises:
            ModelError: Naming both numbers.
        """
        wanted = len(self.stages.mean)
        if x.shape[1] != wanted:
            raise ModelError(
                f"{self.name} takes images of {wanted} channels, not {x.shape[1]}: "
                f"give data of {wanted} channels, such as --data imagefolder:DIR"
            )

    def check_images(self, x: Tensor) -> None:
        """Refuse images, shape (n, c, h, w), of other channels; note it if they are resized.

        Raises:
            ModelError: If the images have another number of channels.
        """
        self.require_channels(x)
        size, own = self.stages.size, (x.shape[2], x.shape[3])
        if size is not None and size != own:
            note(
                f"{self.name} takes images of {size[0]} x {size[1]}: those of {own[0]} x {own[1]} "
                "are resized inside the model (bilinear)"
            )

    def _resized(self, x: Tensor) -> Tensor:
        size = self.stages.size
        if size is None or size == tuple(x.shape[2:]):
            return x
        smaller = size[0] < x.shape[2] or size[1] < x.shape[3]
        return nn.functional.interpolate(
            x, size=size, mode="bilinear", align_corners=False, antialias=smaller
        )


def pictures(stages: Preprocessing, seed: int = 0) -> Tensor:
    """A random picture that needs no resizing, in steps of 1 / 255, shape (1, c, h, w)."""
    height, width = stages.size or (32, 32)
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(256, (1, len(stages.mean), height, width), generator=draws) / 255
