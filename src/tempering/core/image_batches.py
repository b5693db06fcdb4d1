"""What every transform is given: images in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import ModelError

SLACK = 10.0
"""How far pixels may lie beyond [0, 1]: noise of smoothing does, bytes lie further."""


def require_images(what: str, x: Tensor) -> None:
    """Refuse images that are not float, or clearly in other units.

    The first image stands for all. Values are not looked at while a model is traced or compiled,
    nor in the many passes that follow gradients.

    Args:
        what: Who is given them, for the message.
        x: Anything.

    Raises:
        ModelError: If it is no float tensor, or pixels lie far outside [0, 1].

    Example:
        >>> require_images("median", torch.rand(2, 1, 8, 8))
    """
    if not isinstance(x, Tensor) or torch.compiler.is_compiling() or not x.numel():
        return
    if x.requires_grad:
        return
    if not x.is_floating_point():
        raise ModelError(f"{what} on images of type {x.dtype}: give them as float, in [0, 1]")
    if torch.jit.is_tracing():  # type: ignore[no-untyped-call,attr-defined]
        return
    low, high = (float(end) for end in x[:1].detach().aminmax())
    if low < -SLACK or high > 1 + SLACK:
        raise ModelError(f"{what} on images from {low:g} to {high:g}: give pixels in [0, 1]")
