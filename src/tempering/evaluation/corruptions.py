"""Common corruptions and shifts of images: what cameras, files and hands do, not attackers.

Nobody chooses them against a model. So accuracy under them is no adversarial robustness, nor
an upper bound of it that is worth the name: a model can stand all of them and fall to the
first attack, and the other way round.

The kinds are among those of Hendrycks and Dietterich, 'Benchmarking neural network robustness
to common corruptions and perturbations', 2019, and of Engstrom et al., 'Exploring the
landscape of spatial robustness', 2019. The amounts are ours, in even steps, and relative to
the size of the image; so numbers cannot be set beside those of ImageNet-C or MNIST-C.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tempering.core.errors import DataError, UsageError
from tempering.core.random import RandomStreams
from tempering.core.registry import Registry
from tempering.data.augmentation import gaussian_noise

SEVERITIES = (1, 2, 3, 4, 5)
"""From mild to severe."""


@dataclass(frozen=True)
class Corruption:
    """One way in which images change, at five severities.

    Attributes:
        name: Canonical name.
        unit: What the amounts are.
        amounts: One a severity.
        change: From images in [0, 1], an amount and one stream a sample to images.
        library: The part of kornia that it takes, or None.
    """

    name: str
    unit: str
    amounts: tuple[float, float, float, float, float]
    change: Callable[[Tensor, float, RandomStreams], Tensor]
    library: str | None = None

    def require(self) -> None:
        """Refuse to start without the library.

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
                'pip install "tempering[shifts]"'
            ) from error

    def amount(self, severity: int) -> float:
        """The amount of a severity.

        Raises:
            UsageError: If it is none of 1 to 5.
        """
        if severity not in SEVERITIES:
            raise UsageError(f"{self.name}: severity {severity}: give one of 1 to 5")
        return self.amounts[severity - 1]

    def __call__(self, x: Tensor, severity: int, streams: RandomStreams) -> Tensor:
        """Corrupt images; a sample's draws depend on no batch and grow with severity alone.

        Args:
            x: Images in [0, 1], shape (n, c, h, w), float32 or float64.
            severity: 1 to 5.
            streams: One stream a sample.

        Returns:
            Images in [0, 1], shape, dtype and device of x.

        Raises:
            UsageError: If the severity is none of 1 to 5, kornia is needed and missing, or
                there is not one stream a sample.
            DataError: If JPEG is asked of images that are neither grey nor red, green, blue.

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
"""Name -> corruption, in the order in which reports show them."""


def _kornia(part: str) -> Any:
    return importlib.import_module(f"kornia.{part}")


def _blur(x: Tensor, amount: float, _draws: RandomStreams) -> Tensor:
    sigma = amount * min(x.shape[2:])
    size = 2 * math.ceil(3 * sigma) + 1
    blurred: Tensor = _kornia("filters").gaussian_blur2d(x, size, (sigma, sigma), "replicate")
    return blurred


def _contrast(x: Tensor, amount: float, _draws: RandomStreams) -> Tensor:
    flat: Tensor = _kornia("enhance").adjust_contrast_with_mean_subtraction(x, amount)
    return flat


def _brightness(x: Tensor, amount: float, _draws: RandomStreams) -> Tensor:
    bright: Tensor = _kornia("enhance").adjust_brightness(x, amount)
    return bright


def _rotation(x: Tensor, amount: float, streams: RandomStreams) -> Tensor:
    side = streams.choice(2).to(x.dtype) * 2 - 1
    turned: Tensor = _kornia("geometry").rotate(x, amount * side, padding_mode="border")
    return turned


def _translation(x: Tensor, amount: float, streams: RandomStreams) -> Tensor:
    angle = streams.uniform((1,), 0.0, 2 * math.pi).to(x.dtype)
    height, width = x.shape[2:]
    shift = amount * torch.cat([width * angle.cos(), height * angle.sin()], 1)
    moved: Tensor = _kornia("geometry").translate(x, shift, padding_mode="border")
    return moved


def _jpeg(x: Tensor, amount: float, _draws: RandomStreams) -> Tensor:
    """Through a real file in memory: kornia's codec is a differentiable stand-in for one."""
    if x.shape[1] not in (1, 3):
        raise DataError(f"jpeg of images with {x.shape[1]} channels: give 1 or 3")
    pixels = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    read = np.stack([_through_jpeg(one, round(amount)) for one in pixels])
    back = torch.from_numpy(read).reshape(pixels.shape).permute(0, 3, 1, 2)
    return back.to(x.device, x.dtype) / 255


def _through_jpeg(pixels: np.ndarray[Any, Any], quality: int) -> np.ndarray[Any, Any]:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(
        file, "JPEG", quality=quality
    )
    with Image.open(file) as picture:
        return np.asarray(picture)


for _one in (
    Corruption(
        "noise",
        "standard deviation of Gaussian noise, in units of [0, 1]",
        (0.05, 0.10, 0.15, 0.20, 0.25),
        gaussian_noise,
    ),
    Corruption(
        "blur",
        "standard deviation of a Gaussian blur, as a share of the shorter side",
        (0.02, 0.03, 0.04, 0.05, 0.06),
        _blur,
        "filters",
    ),
    Corruption(
        "contrast",
        "factor on the distance from the image's mean grey",
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
        "degrees, to a side that is drawn",
        (6.0, 12.0, 18.0, 24.0, 30.0),
        _rotation,
        "geometry",
    ),
    Corruption(
        "translation",
        "share of the sides, in a direction that is drawn",
        (0.04, 0.08, 0.12, 0.16, 0.20),
        _translation,
        "geometry",
    ),
    Corruption("jpeg", "quality of a JPEG file, of 100", (50.0, 40.0, 30.0, 20.0, 10.0), _jpeg),
):
    CORRUPTIONS.register(_one.name)(_one)
