"""Rules of upsampling: nearest and linear interpolation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.layer_call import LayerCall, Lowered, in_sequence, result
from tempering.certification.linear_maps import LinearMap, copies

_NEAREST = ("nearest", "nearest-exact")
_LINEAR = ("linear", "bilinear", "trilinear")


def interpolate(
    call: LayerCall,
    size: Any,
    scale_factor: Any,
    mode: Any,
    align_corners: Any,
    recompute: Any = None,
    antialias: Any = False,
) -> Lowered:
    """Another size of the last dimensions, by copies or by weighted means of neighbours."""
    source = call.source()
    if antialias or mode not in (*_NEAREST, *_LINEAR):
        what = "with antialias" if antialias else f"with mode={mode!r}"
        raise call.refuse(f"{what}: use nearest or bilinear")

    def run(z: Tensor) -> Tensor:
        return F.interpolate(z, size, scale_factor, mode, align_corners, recompute)

    if mode in _NEAREST:
        return result(call.mapped(source, _by_index(call, run)))
    lengths = source.shape[1:]
    spatial = tuple(range(-len(lengths), 0))
    shape = call.shape

    def reach(z: Tensor) -> Tensor:
        # a coordinate may round to the next pixel
        return z.amax(spatial, keepdim=True).expand(len(z), *shape)

    # the network computes places and weights in its own type: 3 units of each length, twice
    terms = 16 + 8 * sum((*lengths, *shape[1:]))
    if not call.precision.can_sum(terms):
        raise call.refuse(f"to {shape[1:]}")
    fan_out = 4 * (copies(run, source.shape, call.device) + 1)
    operation = LinearMap(run, run, source.shape, terms, fan_out, call.precision, reach=reach)
    return in_sequence(call, operation)


def _by_index(call: LayerCall, run: Any) -> Any:
    """The same copies as the network makes: indices are computed in its type."""
    spatial = call.source().shape[1:]
    dtype = torch.float32 if call.precision.unit > 1e-12 else torch.float64
    count = 1
    for length in spatial:
        count *= length
    places = torch.arange(count, dtype=dtype, device=call.device).reshape(1, 1, *spatial)
    taken = run(places).long()[0, 0]
    return lambda z: z.flatten(2)[:, :, taken.flatten()].reshape(*z.shape[:2], *taken.shape)
