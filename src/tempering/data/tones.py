"""Tones of images: whether they are nearly black and white."""

from __future__ import annotations

from tempering.data.splits import Splits

GREY, GREY_SHARE = (0.25, 0.75), 0.1
"""What counts as grey, and the largest share of such pixels in images that are nearly binary."""


def nearly_binary(data: Splits) -> bool:
    """Whether training images are mostly black and white, as strokes on paper are."""
    grey = sum(int(((x > GREY[0]) & (x < GREY[1])).sum()) for x in data.train.chunks())
    return grey <= GREY_SHARE * data.train.pixels.numel()
