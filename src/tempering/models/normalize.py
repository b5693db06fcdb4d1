"""Normalisation as the first stage of a network, which thus takes images in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError


class Normalize(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel.

    Args:
        mean: One value for each channel, in units of images in [0, 1].
        std: One value for each channel, above 0.

    Raises:
        ModelError: If mean and std differ in length, or a value is not finite, or a std not
            above 0.

    Example:
        >>> net = nn.Sequential(Normalize([0.5], [0.5]), nn.Flatten())
        >>> net(torch.ones(1, 1, 1, 2))
        tensor([[1., 1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        finite = all(math.isfinite(value) for value in (*mean, *std))
        if not mean or len(mean) != len(std) or not finite or min(std) <= 0:
            raise ModelError(
                f"normalisation with mean {list(mean)} and std {list(std)}: "
                "give one finite mean and one std above 0 for each channel"
            )
        self.register_buffer("mean", torch.tensor(list(mean)).float().view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).float().view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images, shape of x.

        Raises:
            ModelError: If the images have another number of channels.
        """
        if x.shape[1] != self.mean.shape[1]:
            raise ModelError(
                f"images with {x.shape[1]} channels in a normalisation for "
                f"{self.mean.shape[1]} channels: give one mean and one std for each channel"
            )
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        """Both statistics, as printed with a model."""
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"
