"""Common corruptions of images: noise, blur, contrast, brightness, rotation, translation, JPEG.

They are not optimised against a model, so accuracy under them is not adversarial robustness,
and neither bounds the other: a model can be accurate under all of them and fail under the
weakest attack, and the other way round.

The corruptions are a selection from Hendrycks and Dietterich, 'Benchmarking neural network
robustness to common corruptions and perturbations', 2019, and Engstrom et al., 'Exploring the
landscape of spatial robustness', 2019. Severities are in even steps and relative to the image
size; they are not those of ImageNet-C or MNIST-C, so the numbers are not comparable.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tempering.core.errors import DataError, UsageError
from tempering.core.random import RandomStreams
from tempering.core.registry import Registry
from tempering.data.augmentation import gaussian_noise
from tempering.defenses.jpeg import coded_as_jpeg

SEVERITIES = (1, 2, 3, 4, 5)
"""From mild to severe."""
ALL = "all"
"""What a user writes for every corruption."""


@dataclass(frozen=True)
class Corruption:
    """A corruption of images at five severities.

    Attributes:
        name: Canonical name.
        unit: Meaning of the amounts.
        amounts: Strength at each severity.
        change: Function of images in [0, 1], an amount and one random stream per sample.
        library: The kornia module that it needs, or None.
    """

    name: str
    unit: str
    amounts: tuple[float, float, float, float, float]
    change: Callable[[Tensor, float, RandomStreams], Tensor]
    library: str | None = None

    def require(self) -> None:
        """Check that the library is installed.

        Raises:
            UsageError: If kornia is needed and missing.
        """
        if self.library is None:
            return
        try:
            _kornia(self.library)
        except ImportError as error:
            raise UsageError(
                f"corruption {self.name!r} needs the library kornia: "
                'pip install "tempering[corruptions]"'
            ) from error

    def amount(self, severity: int) -> float:
        """The strength at a severity.

        Raises:
            UsageError: If the severity is not in 1 to 5.
        """
        if severity not in SEVERITIES:
            raise UsageError(f"{self.name}: severity {severity}: give one of 1 to 5")
        return self.amounts[severity - 1]

    def __call__(self, x: Tensor, severity: int, streams: RandomStreams) -> Tensor:
        """Corrupt images.

        The random numbers of a sample are the same at every severity and do not depend on the
        batch.

        Args:
            x: Images in [0, 1], shape (n, c, h, w), float32 or float64.
            severity: 1 to 5.
            streams: One random stream per sample.

        Returns:
            Images in [0, 1], shape, dtype and device of x.

        Raises:
            UsageError: If the severity is not in 1 to 5, kornia is needed and missing, or
                the number of streams is not that of the images.
            DataError: If JPEG is asked for and the images have neither 1 nor 3 channels.

        Example:
            >>> x = torch.full((2, 1, 4, 4), 0.5)
            >>> round(float(CORRUPTIONS["brightness"](x, 5, RandomStreams.of(0, 2)).mean()), 2)
            0.9
        """
        amount = self.amount(severity)
        self.require()
        if len(streams) != len(x):
            raise UsageError(f"{len(streams)} random streams for {len(x)} images: give one each")
        if len(x) == 0:
            return x.clone()
        streams = streams.on(x.device).derive("corruption", self.name)
        return self.change(x, amount, streams).clamp(0.0, 1.0).to(x.dtype)


CORRUPTIONS: Registry[Corruption] = Registry("corruption")
"""Name -> corruption, in the order of reports."""


def parse_corruptions(text: str, x: Tensor) -> tuple[str, ...]:
    """Parse the names of corruptions and check that they apply to the images.

    Args:
        text: `all`, or names separated by commas.
        x: Images in [0, 1], shape (n, c, h, w).

    Returns:
        Names without repeats, in the order of reports.

    Raises:
        UnknownNameError: If a corruption is unknown.
        UsageError: If no name is given, or a library is missing.
        DataError: If a corruption does not apply to images of this shape.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"corruptions {text!r}: give all, or names such as noise,blur")
    wanted = list(CORRUPTIONS) if names == [ALL] else names
    for name in wanted:
        CORRUPTIONS[name].require()
        CORRUPTIONS[name](x[:1], 1, RandomStreams.of(0, 1))
    return tuple(name for name in CORRUPTIONS if name in wanted)


def _kornia(part: str) -> Any:
    return importlib.import_module(f"kornia.{part}")


def _blur(x: Tensor, amount: float, _streams: RandomStreams) -> Tensor:
    sigma = amount * min(x.shape[2:])
    size = 2 * math.ceil(3 * sigma) + 1
    blurred: Tensor = _kornia("filters").gaussian_blur2d(x, size, (sigma, sigma), "replicate")
    return blurred


def _contrast(x: Tensor, amount: float, _streams: RandomStreams) -> Tensor:
    flattened: Tensor = _kornia("enhance").adjust_contrast_with_mean_subtraction(x, amount)
    return flattened


def _brightness(x: Tensor, amount: float, _streams: RandomStreams) -> Tensor:
    bright: Tensor = _kornia("enhance").adjust_brightness(x, amount)
    return bright


def _rotation(x: Tensor, amount: float, streams: RandomStreams) -> Tensor:
    side = streams.choice(2).to(x.dtype) * 2 - 1
    rotated: Tensor = _kornia("geometry").rotate(x, amount * side, padding_mode="border")
    return rotated


def _translation(x: Tensor, amount: float, streams: RandomStreams) -> Tensor:
    angle = streams.uniform((1,), 0.0, 2 * math.pi).to(x.dtype)
    height, width = x.shape[2:]
    shift = amount * torch.cat([width * angle.cos(), height * angle.sin()], 1)
    translated: Tensor = _kornia("geometry").translate(x, shift, padding_mode="border")
    return translated


def _jpeg(x: Tensor, amount: float, _streams: RandomStreams) -> Tensor:
    """The codec itself; kornia's differentiable one only imitates it."""
    if x.shape[1] not in (1, 3):
        raise DataError(f"jpeg of images with {x.shape[1]} channels: give 1 or 3")
    return coded_as_jpeg(x, round(amount))


for _corruption in (
    Corruption(
        "noise",
        "standard deviation of Gaussian noise, in units of [0, 1]",
        (0.05, 0.10, 0.15, 0.20, 0.25),
        gaussian_noise,
    ),
    Corruption(
        "blur",
        "standard deviation of a Gaussian blur, as a share of the shorter image side",
        (0.02, 0.03, 0.04, 0.05, 0.06),
        _blur,
        "filters",
    ),
    Corruption(
        "contrast",
        "factor on the difference from the image's mean grey level",
        (0.85, 0.70, 0.55, 0.40, 0.25),
        _contrast,
        "enhance",
    ),
    Corruption(
        "brightness",
        "added to every pixel, in units of [0, 1]",
        (0.08, 0.16, 0.24, 0.32, 0.40),
        _brightness,
        "enhance",
    ),
    Corruption(
        "rotation",
        "degrees, in a random direction",
        (6.0, 12.0, 18.0, 24.0, 30.0),
        _rotation,
        "geometry",
    ),
    Corruption(
        "translation",
        "share of the image size, in a random direction",
        (0.04, 0.08, 0.12, 0.16, 0.20),
        _translation,
        "geometry",
    ),
    Corruption("jpeg", "JPEG quality, out of 100", (50.0, 40.0, 30.0, 20.0, 10.0), _jpeg),
):
    CORRUPTIONS.register(_corruption.name)(_corruption)
