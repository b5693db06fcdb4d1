"""Augmentation of training images."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def gaussian_noise(x: Tensor, sigma: float, streams: RandomStreams) -> Tensor:
    """Add noise to each pixel: x' = x + N(0, sigma^2), eq. 2 of the paper, clipped to [0, 1].

    Args:
        x: Images in [0, 1], shape (n, c, h, w).
        sigma: Standard deviation, in units of [0, 1]; 0 adds nothing.
        streams: One random stream per sample.

    Returns:
        Images in [0, 1], shape and dtype of x.

    Raises:
        UsageError: If sigma is no finite number of at least 0.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise UsageError(f"sigma {sigma}: give a finite number of at least 0, such as 0.1")
    if sigma == 0:
        return x
    noise = streams.on(x.device).normal(x.shape[1:])
    return (x + (sigma * noise).to(x.dtype)).clamp(0.0, 1.0)


class Augmentation(BaseModel):
    """Random augmentation of images; each amount is drawn uniformly per sample.

    The default flips colour images only. A sample's augmentation does not depend on its batch.

    Attributes:
        rotation: Largest rotation to either side, degrees.
        scaling: Largest relative change of size: 0.1 draws from 0.9 to 1.1.
        shift: Largest shift along each axis, as a share of its length, rounded to whole pixels.
        flip: Mirror horizontally with probability 0.5; `auto` does so for colour images only,
            since a mirrored digit or letter has another meaning.
        fill: Pixels outside the image: black, those of the border, or a reflection.
        brightness: Largest relative change of all channels, colour images only.
        contrast: Largest relative change of the distance from mid grey, colour images only.
        saturation: Largest relative change of the distance from the pixel's grey value, colour
            images only.
        noise: Standard deviation of Gaussian noise (eq. 2).

    Example:
        >>> augment = Augmentation(rotation=10, shift=0.1)
        >>> augment(torch.rand(4, 1, 28, 28), RandomStreams.of(seed=0, n=4)).shape
        torch.Size([4, 1, 28, 28])
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: float = Field(default=0.0, ge=0, le=180)
    scaling: float = Field(default=0.0, ge=0, lt=1)
    shift: float = Field(default=0.0, ge=0, lt=1)
    flip: Literal["auto"] | bool = "auto"
    fill: Literal["zeros", "border", "reflection"] = "zeros"
    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, le=1)
    saturation: float = Field(default=0.0, ge=0, le=1)
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @property
    def moves(self) -> bool:
        """Whether images are rotated, scaled or shifted."""
        return self.rotation > 0 or self.scaling > 0 or self.shift > 0

    def flips(self, channels: int) -> bool:
        """Whether images with this number of channels are mirrored."""
        return channels == 3 if self.flip == "auto" else self.flip

    def recolours(self, channels: int) -> bool:
        """Whether colours of images with this number of channels change."""
        return channels == 3 and max(self.brightness, self.contrast, self.saturation) > 0

    def changes(self, channels: int) -> bool:
        """Whether images with this number of channels change."""
        return self.moves or self.flips(channels) or self.recolours(channels) or self.noise > 0

    def bind(self, channels: int) -> Augmentation | None:
        """This augmentation; None if images with this number of channels do not change."""
        return self if self.changes(channels) else None

    def __call__(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Augment images.

        Args:
            x: Images in [0, 1], shape (n, c, h, w).
            streams: One random stream per sample.

        Returns:
            Images in [0, 1], shape and dtype of x; x itself if nothing changes.
        """
        channels = x.shape[1]
        if len(x) == 0 or not self.changes(channels):
            return x
        streams = streams.on(x.device)
        if self.flips(channels):
            mirrored = streams.derive("flip").uniform((1, 1, 1)) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        if self.moves:
            x = self._move(x, streams)
        if self.recolours(channels):
            x = self._recolour(x, streams)
        return gaussian_noise(x, self.noise, streams.derive("noise"))

    def _move(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Rotate, scale and shift in one bilinear resampling.

        The grid is computed elementwise: a batched matrix product may round differently for
        another batch size.
        """
        height, width = x.shape[2:]
        angle = streams.derive("rotation").uniform((1, 1), -self.rotation, self.rotation).deg2rad()
        size = streams.derive("scaling").uniform((1, 1), 1 - self.scaling, 1 + self.scaling)
        shift = streams.derive("shift").uniform((2, 1, 1), -self.shift, self.shift)
        rows = _pixels(height, x)[:, None] - (height * shift[:, 0]).round()
        columns = _pixels(width, x)[None, :] - (width * shift[:, 1]).round()
        cosine, sine = angle.cos() / size, angle.sin() / size
        across = cosine * columns + sine * rows
        down = cosine * rows - sine * columns
        grid = torch.stack([across * (2 / width), down * (2 / height)], dim=-1)
        moved = F.grid_sample(x.float(), grid, "bilinear", self.fill, align_corners=False)
        return moved.clamp(0.0, 1.0).to(x.dtype)

    def _recolour(self, x: Tensor, streams: RandomStreams) -> Tensor:
        def factor(name: str, most: float) -> Tensor:
            return streams.derive(name).uniform((1, 1, 1), 1 - most, 1 + most).to(x.dtype)

        if self.brightness > 0:
            x = (x * factor("brightness", self.brightness)).clamp(0.0, 1.0)
        if self.contrast > 0:
            x = (0.5 + (x - 0.5) * factor("contrast", self.contrast)).clamp(0.0, 1.0)
        if self.saturation > 0:
            grey = LUMA[0] * x[:, :1] + LUMA[1] * x[:, 1:2] + LUMA[2] * x[:, 2:]
            x = (grey + (x - grey) * factor("saturation", self.saturation)).clamp(0.0, 1.0)
        return x


def _pixels(side: int, like: Tensor) -> Tensor:
    """Coordinates of pixel centres along a side, relative to its middle, in pixels."""
    return torch.arange(side, device=like.device, dtype=torch.float32) - (side - 1) / 2
