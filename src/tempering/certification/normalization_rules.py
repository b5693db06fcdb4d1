"""Rules of normalisation by the statistics of each image: layer, group and instance norm.

The square of what is left of the mean, its average, the inverse root and a product of two
tensors are bounded one after the other. The bounds are loose where the variance varies much
over the region: the product forgets that both factors come from the same numbers.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from tempering.certification.arithmetic_rules import product_of
from tempering.certification.convex_activations import InverseRoot, Square
from tempering.certification.layer_call import (
    LayerCall,
    Lowered,
    StepOutput,
    result,
    scale_shift,
)
from tempering.certification.linear_maps import LinearMap, Moment
from tempering.certification.rules import register_function_rule, register_rule


def standardized(call: LayerCall, source: StepOutput, eps: float) -> StepOutput:
    """(z - mean) / sqrt(variance + eps) along the last dimension.

    Where rounding lies: that of z - mean and of the last product is charged to the difference,
    that of the variance, in whichever way it is computed, to `Moment`.
    """
    count, exact = source.shape[-1], call.precision
    if not exact.can_sum(count + 8):
        raise call.refuse(f"with means of {count} numbers")

    def centred(z: Tensor) -> Tensor:
        return z - z.mean(-1, keepdim=True)

    def spread(z: Tensor) -> Tensor:
        # weights of 1 - 1 / n and 1 / n
        return z * (1 - 2 / count) + z.mean(-1, keepdim=True)

    def reach(z: Tensor) -> Tensor:
        return z + z.mean(-1, keepdim=True)

    difference = call.then(
        LinearMap(centred, spread, source.shape, count + 8, count, exact, reach=reach), source
    )
    squares = call.then(Square(exact, 0), difference)
    variance = call.then(Moment(count, eps, exact), squares, source)
    root = call.then(InverseRoot(exact, 16, 0.0, eps * (1 - 1e-6)), variance)
    return product_of(call, difference, root)


def _weighed(
    call: LayerCall, source: StepOutput, weight: Tensor | None, bias: Tensor | None, form: list[int]
) -> StepOutput:
    """Scaled and shifted by constants, reshaped to (1, ...)."""
    if weight is None and bias is None:
        return source
    one = torch.ones(1, dtype=torch.float64, device=call.device)
    scale = one if weight is None else weight.detach().double().reshape(form)
    shift = 0 * one if bias is None else bias.detach().double().reshape(form)
    return call.then(scale_shift(call, scale, shift, 8), source)


def layer_norm(call: LayerCall, normalized: Any, weight: Any, bias: Any, eps: float) -> Lowered:
    """Over the last dimensions."""
    source = call.source()
    dims = 1 if isinstance(normalized, int) else len(normalized)
    ahead, last = source.shape[: len(source.shape) - dims], source.shape[-dims:]
    if len(ahead) + dims != len(source.shape):
        raise call.refuse(f"over {dims} dimensions of {source.shape}")
    flat = call.mapped(source, lambda z: z.reshape(len(z), *ahead, prod(last)))
    out = call.mapped(standardized(call, flat, eps), lambda z: z.reshape(len(z), *ahead, *last))
    return result(_weighed(call, out, weight, bias, [1] * (1 + len(ahead)) + list(last)))


def group_norm(call: LayerCall, groups: int, weight: Any, bias: Any, eps: float) -> Lowered:
    """Over groups of channels."""
    source = call.source()
    size = prod(source.shape) // groups
    flat = call.mapped(source, lambda z: z.reshape(len(z), groups, size))
    out = call.mapped(standardized(call, flat, eps), lambda z: z.reshape(len(z), *source.shape))
    form = [1, -1] + [1] * (len(source.shape) - 1)
    return result(_weighed(call, out, weight, bias, form))


@register_rule(nn.LayerNorm)
def _layer_norm(call: LayerCall) -> Lowered:
    layer = call.module
    if not isinstance(layer, nn.LayerNorm):
        raise call.refuse("not a LayerNorm")
    return layer_norm(call, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


@register_rule(nn.GroupNorm)
def _group_norm(call: LayerCall) -> Lowered:
    layer = call.module
    if not isinstance(layer, nn.GroupNorm):
        raise call.refuse("not a GroupNorm")
    return group_norm(call, layer.num_groups, layer.weight, layer.bias, layer.eps)


@register_rule(_InstanceNorm)
def _instance_norm(call: LayerCall) -> Lowered:
    layer = call.module
    if not isinstance(layer, _InstanceNorm) or layer.track_running_stats:
        raise call.refuse("with running statistics: use BatchNorm")
    channels = call.source().shape[0]
    return group_norm(call, channels, layer.weight, layer.bias, layer.eps)


@register_function_rule("layer_norm")
def _layer_norm_function(call: LayerCall) -> Lowered:
    given = call.bind(normalized_shape=(), weight=None, bias=None, eps=1e-5)
    return layer_norm(call, *given.values())


@register_function_rule("group_norm")
def _group_norm_function(call: LayerCall) -> Lowered:
    given = call.bind(num_groups=1, weight=None, bias=None, eps=1e-5)
    return group_norm(call, *given.values())
