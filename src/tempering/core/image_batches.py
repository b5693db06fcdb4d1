"""What every defense is given: a batch of images in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import ModelError

SLACK = 10.0
"""How far pixels may lie beyond [0, 1]: noise of smoothing does, bytes lie further."""


def require_images(what: str, x: Tensor) -> None:
    """Refuse what is no batch of images, or clearly in other units.

    Values are not looked at while a model is traced or compiled.

    Args:
        what: Who is given them, for the message.
        x: Anything.

    Raises:
        ModelError: If it is no float tensor (n, c, h, w), or pixels lie far outside [0, 1].

    Example:
        >>> require_images("median", torch.rand(2, 1, 8, 8))
    """
    if x.ndim != 4 or not x.is_floating_point():
        raise ModelError(
            f"{what} on a tensor of shape {tuple(x.shape)} and type {x.dtype}: "
            "give images of shape (n, c, h, w), float, in [0, 1]"
        )
    if torch.jit.is_tracing() or torch.compiler.is_compiling() or not x.numel():  # type: ignore[no-untyped-call,attr-defined]
        return
    low, high = (float(end) for end in x.detach().aminmax())
    if low < -SLACK or high > 1 + SLACK:
        raise ModelError(f"{what} on images from {low:g} to {high:g}: give pixels in [0, 1]")
