"""Whether a transform does what it declares, as far as trying shows."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.protocols import Transform

_IMAGES = 16
"""Random images on which a transform is tried."""
_FEWEST, _MOST = 33, 1025
"""Even images, from black to white: more of them where images are small."""
_NUMBERS = 2**14
"""Pixels of all even images, about."""


def false_declaration(stage: Transform, like: Tensor) -> str | None:
    """What contradicts that a transform is monotone, in words; None if nothing does.

    Two random images are mixed pixel by pixel: a transform of single pixels mixes its outputs
    likewise. Along even images from black to white no pixel decreases.

    Args:
        stage: Declares that it is monotone.
        like: An image, shape (c, h, w), of the type and device to try.

    Example:
        >>> from tempering.core.protocols import Transform
        >>> class Inverted(Transform):
        ...     monotone = True
        ...     def transform(self, x: Tensor) -> Tensor:
        ...         return 1 - x
        >>> false_declaration(Inverted(), torch.zeros(1, 2, 2))
        'decreases'
    """
    draw = torch.Generator().manual_seed(0)
    ends = torch.rand(2, _IMAGES, *like.shape, generator=draw).to(like)
    low, high = ends.amin(0), ends.amax(0)
    taken = (torch.rand(low.shape, generator=draw) < 0.5).to(like.device)
    mixed = stage.transform(torch.where(taken, low, high))
    least, most = stage.transform(low.clone()), stage.transform(high.clone())
    if least.shape != low.shape:
        return "changes the shape of images"
    if not torch.equal(mixed, torch.where(taken, least, most)):
        return "mixes pixels"
    out = stage.transform(even_images(like))
    if bool((least > most).any()) or bool((out[:-1] > out[1:]).any()):
        return "decreases"
    return None


def even_images(like: Tensor) -> Tensor:
    """Images of one value each, from black to white, shape (levels, c, h, w).

    Args:
        like: An image, shape (c, h, w), of the type and device that they shall have.
    """
    count = min(_MOST, max(_FEWEST, _NUMBERS // max(1, like.numel())))
    levels = torch.linspace(0, 1, count, dtype=torch.float64).to(like)
    return levels.reshape(-1, *(1 for _ in like.shape)).repeat(1, *like.shape)
