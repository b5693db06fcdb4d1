"""A contact sheet: the first samples of each class in one picture."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tempering.data.dataset import Dataset

SIDE, GAP = 48, 4
"""Smallest side of a thumbnail, and gap between thumbnails, in pixels."""

MOST_CLASSES = 20
LIGHT, DARK = (255, 255, 255), (34, 34, 34)


def contact_sheet(data: Dataset, per_class: int = 10) -> bytes:
    """Draw the first samples of each class, one row per class.

    Args:
        data: The dataset; only its first 20 classes are drawn.
        per_class: Samples per row.

    Returns:
        The content of a PNG file.

    Example:
        `Path("sheet.png").write_bytes(contact_sheet(tp.data.load("mnist").train))`
    """
    classes = data.classes[:MOST_CLASSES]
    _, height, width = data.shape
    zoom = max(1, -(-SIDE // min(height, width)))
    across, down = width * zoom + GAP, height * zoom + GAP
    captions = [_short(name) for name in classes]
    left = 2 * GAP + math.ceil(max(ImageFont.load_default().getlength(text) for text in captions))
    sheet = Image.new("RGB", (left + per_class * across, GAP + len(classes) * down), LIGHT)
    draw = ImageDraw.Draw(sheet)
    for row, caption in enumerate(captions):
        top = GAP + row * down
        draw.text((GAP, top), caption, fill=DARK)
        ids = (data.y == row).nonzero()[:per_class, 0]
        for column, image in enumerate(data.images(ids)):
            picture = Image.fromarray(_levels(image))
            picture = picture.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(picture, (left + column * across, top))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _short(name: str) -> str:
    printable = name.encode("latin-1", "replace").decode("latin-1")
    return printable if len(printable) <= 14 else f"{printable[:12]}.."


def _levels(image: torch.Tensor) -> NDArray[np.uint8]:
    """Pixels of an image as uint8; the mean of the channels unless there are three."""
    levels = (255 * image).round().to(torch.uint8).numpy()
    if len(levels) == 3:
        return np.ascontiguousarray(np.moveaxis(levels, 0, -1))
    return np.asarray(levels.mean(axis=0).round(), dtype=np.uint8)
