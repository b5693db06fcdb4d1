"""Decoding of image files to arrays of one size."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tempering.core.errors import DataError, first_line

GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I", "F")
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_AT = 24
"""Offset of the bit depth in a PNG file; Pillow opens colours of 16 bits as if they had 8."""
_HEAD = 1024
"""Bytes at the beginning of a file that are looked at."""
_BITS_PER_SAMPLE = 258
"""Tag of a TIFF file."""
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
    if picture.mode.startswith(DEEP_MODES) or _bits(picture) > 8:
        raise DataError(f"{where} has more than 8 bits per channel: convert it to 8 bits")
    try:
        upright = ImageOps.exif_transpose(picture)
        grey = upright.mode in GREY_MODES
        if upright.mode in ("P", "PA"):
            pixels = np.asarray(upright.convert("RGBA"))[:, :, :3]
            if bool((pixels == pixels[:, :, :1]).all()):
                grey, pixels = True, pixels[:, :, 0]
        else:
            pixels = np.asarray(upright.convert("L" if grey else "RGB"))
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(
            f"cannot read {where}: {first_line(error)}: give an intact image"
        ) from error
    return pixels[None] if grey else np.moveaxis(pixels, -1, 0)


def _bits(picture: Image.Image) -> int:
    """Bits per channel that the file states; 8 where it does not."""
    source = getattr(picture, "fp", None)
    if picture.format in ("PNG", "PPM") and source is not None:
        at = source.tell()
        source.seek(0)
        head = source.read(_HEAD)
        source.seek(at)
        if picture.format == "PPM":
            return _ppm_bits(head)
        return head[_DEPTH_AT] if head.startswith(_PNG) and len(head) > _DEPTH_AT else 8
    tags = getattr(picture, "tag_v2", None)
    stated = tags.get(_BITS_PER_SAMPLE, (8,)) if tags else (8,)
    return max(stated) if isinstance(stated, tuple) else int(stated)


def _ppm_bits(head: bytes) -> int:
    """Bits per channel of a PGM or PPM file: its header ends with the largest value."""
    tokens = re.sub(rb"#[^\n]*", b" ", head).split(maxsplit=4)
    largest = tokens[3] if tokens[:1] in ([b"P2"], [b"P3"], [b"P5"], [b"P6"]) else b""
    return int(largest).bit_length() if largest.isdigit() else 8


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
