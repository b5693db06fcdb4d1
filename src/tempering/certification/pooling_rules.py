"""Rules of two-dimensional pooling."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from tempering.certification.layer_call import LayerCall, Lowered, in_sequence, pair, rearranged
from tempering.certification.max_pooling import MaxPooling, PoolingWindows


def max_pool(
    call: LayerCall,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Lowered:
    """Max pooling."""
    shape = call.source().shape
    if return_indices or len(shape) != 3:
        raise call.refuse("with indices" if return_indices else f"of shape {shape}")
    sizes = pair(call, kernel)
    steps = sizes if stride is None or stride == [] else pair(call, stride)
    windows = PoolingWindows(sizes, steps, pair(call, padding), pair(call, dilation))
    floor = tuple(
        (size + 2 * pad - spread * (window - 1) - 1) // step + 1
        for size, pad, spread, window, step in zip(
            shape[1:], windows.padding, windows.dilation, sizes, steps, strict=True
        )
    )
    if ceil_mode and floor != call.shape[1:]:
        raise call.refuse("with windows that hang over the edge (ceil_mode)")
    return in_sequence(call, MaxPooling(windows))


def average_pool(
    call: LayerCall,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Any,
) -> Lowered:
    """Average pooling."""
    if divisor is not None or len(call.source().shape) != 3:
        raise call.refuse("with a divisor of its own, or not on images")
    sizes = pair(call, kernel)
    steps = sizes if stride is None or stride == [] else pair(call, stride)
    pads = pair(call, padding)
    return rearranged(
        call,
        lambda z: F.avg_pool2d(z, sizes, steps, pads, ceil_mode, count_include_pad),
        sizes[0] * sizes[1],
    )


def adaptive_average_pool(call: LayerCall) -> Lowered:
    """Adaptive average pooling."""
    shape = call.source().shape
    size = (call.shape[-2], call.shape[-1])
    if len(shape) != 3:
        raise call.refuse(f"on an input of shape {shape}")
    # a region is one number wider than the quotient at most, at either end
    terms = (shape[1] // size[0] + 2) * (shape[2] // size[1] + 2)
    return rearranged(call, lambda z: F.adaptive_avg_pool2d(z, size), terms)
