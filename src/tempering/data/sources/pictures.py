"""Decoding of image files to arrays of one size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tempering.core.errors import DataError, first_line

GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I", "F")
Bytes = NDArray[np.uint8]


def decode(picture: Image.Image, where: str) -> Bytes:
    """Decode an image, upright and without transparency.

    Args:
        picture: The image that Pillow opened.
        where: Name of the image, for messages.

    Returns:
        Shape (1, h, w) for greyscale and (3, h, w) for colour, uint8.

    Raises:
        DataError: If the image is damaged, or has more than 8 bits per channel.
    """
    if picture.mode.startswith(DEEP_MODES):
        raise DataError(f"{where} has more than 8 bits per channel: convert it to 8 bits")
    try:
        upright = ImageOps.exif_transpose(picture)
        grey = upright.mode in GREY_MODES
        pixels = np.asarray(upright.convert("L" if grey else "RGB"))
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(
            f"cannot read {where}: {first_line(error)}: give an intact image"
        ) from error
    return pixels[None] if grey else np.moveaxis(pixels, -1, 0)


def stack(pictures: Iterable[tuple[str, Bytes]]) -> Bytes:
    """Stack images of one size; greyscale ones become colour if any is in colour.

    Args:
        pictures: Name, for messages, and pixels of each image, see `decode`.

    Returns:
        Shape (n, 1 or 3, h, w), uint8.

    Raises:
        DataError: If an image has another size than the first.
    """
    first, images = "", list[Bytes]()
    for where, image in pictures:
        if not images:
            first = where
        elif image.shape[1:] != images[0].shape[1:]:
            raise DataError(
                f"{where} is {_size(image)} but {first} is {_size(images[0])}: "
                "give images of one size"
            )
        images.append(image)
    if not images:
        return np.zeros((0, 1, 1, 1), np.uint8)
    channels = max(len(image) for image in images)
    out = np.empty((len(images), channels, *images[0].shape[1:]), np.uint8)
    for row, image in zip(out, images, strict=True):
        row[:] = image
    return out


def _size(image: Bytes) -> str:
    return f"{image.shape[2]}x{image.shape[1]}"
