"""Pooling over two dimensions."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from tempering.certification.maximum import Largest, Windows
from tempering.certification.request import Made, Request, alone, moved, pair


def max_pool(
    request: Request,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Made:
    """The largest of each window."""
    shape = request.source().shape
    if return_indices or len(shape) != 3:
        raise request.refuse("with indices" if return_indices else f"of shape {shape}")
    sizes = pair(request, kernel)
    steps = sizes if stride is None or stride == [] else pair(request, stride)
    windows = Windows(sizes, steps, pair(request, padding), pair(request, dilation))
    floor = tuple(
        (size + 2 * pad - spread * (one - 1) - 1) // step + 1
        for size, pad, spread, one, step in zip(
            shape[1:], windows.padding, windows.dilation, sizes, steps, strict=True
        )
    )
    if ceil_mode and floor != request.shape[1:]:
        raise request.refuse("with windows that hang over the edge (ceil_mode)")
    return alone(request, Largest(windows))


def average_pool(
    request: Request,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Any,
) -> Made:
    """The mean of each window."""
    if divisor is not None or len(request.source().shape) != 3:
        raise request.refuse("with a divisor of its own, or not on images")
    sizes = pair(request, kernel)
    steps = sizes if stride is None or stride == [] else pair(request, stride)
    pads = pair(request, padding)
    return moved(
        request,
        lambda z: F.avg_pool2d(z, sizes, steps, pads, ceil_mode, count_include_pad),
        sizes[0] * sizes[1],
    )


def adaptive_average_pool(request: Request) -> Made:
    """Means over as many regions as the output has places."""
    shape = request.source().shape
    size = (request.shape[-2], request.shape[-1])
    if len(shape) != 3:
        raise request.refuse(f"on an input of shape {shape}")
    # a region is one number wider than the quotient at most, at either end
    terms = (shape[1] // size[0] + 2) * (shape[2] // size[1] + 2)
    return moved(request, lambda z: F.adaptive_avg_pool2d(z, size), terms)
