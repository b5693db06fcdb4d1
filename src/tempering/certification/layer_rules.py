"""Rules of the layers of torch and of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.padding import (
    _CircularPadNd,
    _ConstantPadNd,
    _ReflectionPadNd,
    _ReplicationPadNd,
)

from tempering.certification import (
    activation_rules,
    convolution_rules,
    interpolation_rules,
    pooling_rules,
    shape_rules,
)
from tempering.certification.layer_call import (
    LayerCall,
    Lowered,
    convolution,
    in_sequence,
    matrix_product,
    rearranged,
    scale_shift,
)
from tempering.certification.rules import Rule, register_rule
from tempering.models.normalize import Normalize

T = TypeVar("T", bound=nn.Module)


def _layer(call: LayerCall, kind: type[T]) -> T:
    if not isinstance(call.module, kind):
        raise call.refuse(f"not a {kind.__name__}")
    return call.module


@register_rule(nn.Linear)
def _linear(call: LayerCall) -> Lowered:
    layer = _layer(call, nn.Linear)
    return matrix_product(call, layer.weight, layer.bias)


@register_rule(nn.Conv2d)
def _conv2d(call: LayerCall) -> Lowered:
    layer = _layer(call, nn.Conv2d)
    source, padding = convolution_rules.padded_by_mode(call, layer)
    return convolution(
        call,
        layer.weight,
        layer.bias,
        layer.stride,
        padding,
        layer.dilation,
        layer.groups,
        source,
    )


@register_rule(nn.Conv1d, nn.Conv3d)
def _conv(call: LayerCall) -> Lowered:
    layer = cast(nn.Conv3d, call.module)
    source, padding = convolution_rules.padded_by_mode(call, layer)
    return convolution_rules.convolved(
        call,
        layer.weight,
        layer.bias,
        layer.stride,
        padding,
        layer.dilation,
        layer.groups,
        source,
    )


@register_rule(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _conv_transpose(call: LayerCall) -> Lowered:
    layer = cast(nn.ConvTranspose3d, call.module)
    return convolution_rules.transposed(
        call,
        layer.weight,
        layer.bias,
        layer.stride,
        layer.padding,
        layer.output_padding,
        layer.groups,
        layer.dilation,
    )


@register_rule(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def _upsample(call: LayerCall) -> Lowered:
    layer = _layer(call, nn.Upsample)
    return interpolation_rules.interpolate(
        call,
        layer.size,
        layer.scale_factor,
        layer.mode,
        layer.align_corners,
        layer.recompute_scale_factor,
    )


@register_rule(cast(type[nn.Module], _ConstantPadNd), cast(type[nn.Module], _ReflectionPadNd))
@register_rule(cast(type[nn.Module], _ReplicationPadNd), cast(type[nn.Module], _CircularPadNd))
def _pad(call: LayerCall) -> Lowered:
    modes = {
        _ReflectionPadNd: "reflect",
        _ReplicationPadNd: "replicate",
        _CircularPadNd: "circular",
    }
    named = [mode for kind, mode in modes.items() if isinstance(call.module, kind)]
    value = getattr(call.module, "value", 0.0)
    ends = cast(nn.ConstantPad2d, call.module).padding
    return shape_rules.padded(call, ends, named[0] if named else "constant", value)


@register_rule(nn.PReLU)
def _prelu(call: LayerCall) -> Lowered:
    return activation_rules.prelu(call, _layer(call, nn.PReLU).weight)


@register_rule(cast(type[nn.Module], _BatchNorm))
def _batch_norm(call: LayerCall) -> Lowered:
    layer = _layer(call, _BatchNorm)
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None or layer.training:
        raise call.refuse("with statistics of its batch")
    return normalised(call, mean, variance, layer.weight, layer.bias, layer.eps)


def normalised(
    call: LayerCall,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Lowered:
    """Channel by channel: minus the mean, times weight / sqrt(variance + eps), plus bias.

    Computed in either order of shift and scale, whose intermediate results `reach` bounds.
    """
    dims = len(call.source().shape)
    scale = (variance.detach().double() + eps).rsqrt()
    if weight is not None:
        scale = scale * weight.detach().double()
    middle = mean.detach().double() * scale
    added = torch.zeros_like(middle) if bias is None else bias.detach().double()
    form = [1, -1] + [1] * (dims - 1)
    step = scale_shift(
        call,
        scale.reshape(form),
        (added - middle).reshape(form),
        12,
        (middle.abs() + added.abs()).reshape(form),
    )
    return in_sequence(call, step)


@register_rule(Normalize)
def _normalize(call: LayerCall) -> Lowered:
    layer = _layer(call, Normalize)
    scale = 1 / layer.std.double()
    return in_sequence(call, scale_shift(call, scale, -layer.mean.double() * scale, 8))


@register_rule(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)
def _identity(call: LayerCall) -> Lowered:
    if call.module is not None and call.module.training:
        raise call.refuse("in training mode")
    return [], (call.source().step,)


@register_rule(nn.Flatten, nn.Unflatten)
def _flatten(call: LayerCall) -> Lowered:
    shape = call.shape
    return rearranged(call, lambda z: z.reshape(len(z), *shape))


def _with(rule: Callable[..., Lowered], *names: str) -> Rule:
    """A rule whose further arguments are attributes of the layer."""

    def completed(call: LayerCall) -> Lowered:
        return rule(call, *(getattr(call.module, name) for name in names))

    return completed


_TABLE: dict[type[nn.Module], Rule] = {
    nn.ReLU: activation_rules.relu,
    nn.LeakyReLU: _with(activation_rules.leaky_relu, "negative_slope"),
    nn.Sigmoid: activation_rules.sigmoid,
    nn.Tanh: activation_rules.tanh,
    nn.SiLU: activation_rules.silu,
    nn.Mish: activation_rules.mish,
    nn.Hardswish: activation_rules.hardswish,
    nn.Hardsigmoid: activation_rules.hardsigmoid,
    nn.ELU: _with(activation_rules.elu, "alpha"),
    nn.CELU: _with(activation_rules.celu, "alpha"),
    nn.SELU: activation_rules.selu,
    nn.GELU: _with(activation_rules.gelu, "approximate"),
    nn.Softplus: _with(activation_rules.softplus, "beta", "threshold"),
    nn.Hardtanh: _with(activation_rules.clamp, "min_val", "max_val"),
    nn.MaxPool2d: _with(
        pooling_rules.max_pool,
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "ceil_mode",
        "return_indices",
    ),
    nn.AvgPool2d: _with(
        pooling_rules.average_pool,
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ),
    nn.AdaptiveAvgPool2d: pooling_rules.adaptive_average_pool,
}
for _kind, _rule in _TABLE.items():
    register_rule(_kind)(_rule)
