"""JPEG compression."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform, register_defense
from tempering.defenses.differentiable_jpeg import differentiable_jpeg
from tempering.defenses.requirements import require_finite, whole_number


def coded_as_jpeg(x: Tensor, quality: int) -> Tensor:
    """Encode each image as a JPEG file in memory, and decode it.

    Args:
        x: Images in [0, 1], shape (n, 1 or 3, h, w); what lies outside is clamped.
        quality: As libjpeg counts it.

    Returns:
        Decoded images, shape and dtype of x.

    Raises:
        ModelError: If there are other channels than 1 or 3.
    """
    if x.shape[1] not in (1, 3):
        raise ModelError(f"jpeg on images of {x.shape[1]} channels: give images of 1 or 3 channels")
    pixels = (x * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.empty_like(pixels)
    for number, image in enumerate(pixels):
        file = io.BytesIO()
        grey = image.shape[2] == 1
        Image.fromarray(image[..., 0] if grey else image).save(file, "JPEG", quality=quality)
        with Image.open(file) as read:
            decoded[number] = np.asarray(read).reshape(image.shape)
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(x.device, x.dtype) / 255


@register_defense("jpeg")
class Jpeg(Transform):
    """Encode images as JPEG and decode them again, with the codec that Pillow brings.

    Dziugaite, Ghahramani and Roy, 'A study of the effect of JPG compression on adversarial
    images', 2016. Colour is kept at half the resolution (4:2:0), Pillow's default.

    Rounding in the codec has no gradient. Attacks differentiate the same steps in torch with a
    rounding that has one (`differentiable_jpeg`), since at low quality the identity does not
    know which frequencies the codec removes and breaks fewer images (tested).

    Attributes:
        quality: As libjpeg counts it, 1 to 95.

    Raises:
        ModelError: If quality is no such number; when run, if images have neither 1 nor 3
            channels, or pixels are not finite.

    Example:
        >>> Jpeg(75)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    input_gradient = "approximation"
    source = "Dziugaite, Ghahramani and Roy, 2016"

    def __init__(self, quality: int = 75) -> None:
        super().__init__()
        self.quality = whole_number("jpeg quality", quality, 1, 95)

    def transform(self, x: Tensor) -> Tensor:
        """Decoded images, shape and dtype of x."""
        require_finite("jpeg", x)
        return coded_as_jpeg(x.detach(), self.quality)

    def approximation(self, x: Tensor) -> Tensor:
        """What attacks differentiate, shape and dtype of x."""
        with torch.autocast(x.device.type, enabled=False):  # steps of 1/255 need precision
            return differentiable_jpeg(x, self.quality)
