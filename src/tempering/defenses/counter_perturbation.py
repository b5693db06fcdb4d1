"""A small network that adds a perturbation of its own, against that of an attacker."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform, register_defense


@register_defense("counter_perturbation")
class CounterPerturbation(Transform):
    """Three convolutions whose output, at most `limit` a pixel, is added to the image.

    Qin et al., the anti-adversarial module. The gradient is the true one: it leads through the
    module, so an attacker who knows it attacks module and classifier as one network.

    Args:
        channels: Of the images.
        limit: Largest change of a pixel, above 0 and at most 1.
        width: Filters of the inner convolutions, at least 1.

    Raises:
        ModelError: If an argument makes no sense, or images have other channels.

    Example:
        >>> CounterPerturbation(channels=1, limit=0.3)(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """

    source = "Qin et al."

    def __init__(self, channels: int = 1, limit: float = 0.3, width: int = 16) -> None:
        super().__init__()
        if not (isinstance(channels, int) and channels >= 1):
            raise ModelError(f"counter_perturbation of {channels} channels: give at least 1")
        if not 0 < limit <= 1:
            raise ModelError(f"counter_perturbation limit {limit}: give more than 0, at most 1")
        if not (isinstance(width, int) and width >= 1):
            raise ModelError(f"counter_perturbation width {width}: give at least 1")
        self.channels, self.limit, self.width = channels, float(limit), width
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def transform(self, x: Tensor) -> Tensor:
        """Images with the perturbation of the module, shape of x, values in [0, 1]."""
        if x.shape[1] != self.channels:
            raise ModelError(
                f"counter_perturbation for {self.channels} channels got images of {x.shape[1]}: "
                f"give channels={x.shape[1]}"
            )
        own = next(self.layers.parameters()).dtype
        change = torch.tanh(self.layers(x.to(own)))
        return (x + self.limit * change.to(x.dtype)).clamp(0.0, 1.0)
