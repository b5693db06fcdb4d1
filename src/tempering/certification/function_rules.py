"""Rules of functions, operators and methods of torch, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from tempering.certification import (
    activation_rules,
    convolution_rules,
    interpolation_rules,
    pooling_rules,
)
from tempering.certification import arithmetic_rules as arithmetic
from tempering.certification import shape_rules as shapes
from tempering.certification.layer_call import LayerCall, Lowered, convolution, matrix_product
from tempering.certification.layer_rules import normalised
from tempering.certification.rules import Rule, register_function_rule


def _plain(rule: Callable[..., Lowered], **defaults: Any) -> Rule:
    """A rule whose further arguments are those of the function, in order, without `inplace`."""

    def completed(call: LayerCall) -> Lowered:
        values = call.bind(**defaults)
        values.pop("inplace", None)
        return rule(call, *values.values())

    return completed


def _linear(call: LayerCall, weight: Any, bias: Any) -> Lowered:
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise call.refuse("with a weight that is no matrix")
    return matrix_product(call, weight, bias)


def _conv2d(
    call: LayerCall, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Lowered:
    if not isinstance(weight, Tensor):
        raise call.refuse("with a weight that is no tensor")
    return convolution(call, weight, bias, stride, padding, dilation, int(groups))


def _batch_norm(
    call: LayerCall,
    mean: Any,
    variance: Any,
    weight: Any,
    bias: Any,
    training: Any,
    _momentum: Any,
    eps: Any,
) -> Lowered:
    if training or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        raise call.refuse("with statistics of its batch")
    return normalised(call, mean, variance, weight, bias, float(eps))


def _adaptive(call: LayerCall, _size: Any) -> Lowered:
    return pooling_rules.adaptive_average_pool(call)


_TRANSPOSE = _plain(shapes.transposed, dim0=0, dim1=0)
_CONVOLUTION: dict[str, Any] = {
    "weight": None,
    "bias": None,
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
}
_TRANSPOSED: dict[str, Any] = {
    "weight": None,
    "bias": None,
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "groups": 1,
    "dilation": 1,
}
_CLAMP = _plain(activation_rules.clamp, min=None, max=None)
_MAX_POOL = _plain(
    pooling_rules.max_pool,
    kernel_size=None,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
)

_TABLE: dict[str, Rule] = {
    "relu": _plain(activation_rules.relu, inplace=False),
    "relu_": _plain(activation_rules.relu),
    "leaky_relu": _plain(activation_rules.leaky_relu, negative_slope=0.01, inplace=False),
    "leaky_relu_": _plain(activation_rules.leaky_relu, negative_slope=0.01),
    "sigmoid": _plain(activation_rules.sigmoid),
    "tanh": _plain(activation_rules.tanh),
    "silu": _plain(activation_rules.silu, inplace=False),
    "gelu": _plain(activation_rules.gelu, approximate="none"),
    "softplus": _plain(activation_rules.softplus, beta=1.0, threshold=20.0),
    "hardtanh": _plain(activation_rules.clamp, min_val=-1.0, max_val=1.0, inplace=False),
    "relu6": _plain(lambda call: activation_rules.clamp(call, 0.0, 6.0), inplace=False),
    "clamp": _CLAMP,
    "clamp_": _CLAMP,
    "clip": _CLAMP,
    "clamp_min": _plain(lambda call, min_: activation_rules.clamp(call, min_, None), min=None),
    "clamp_max": _plain(lambda call, max_: activation_rules.clamp(call, None, max_), max=None),
    "prelu": _plain(activation_rules.prelu, weight=None),
    "mish": _plain(activation_rules.mish, inplace=False),
    "hardswish": _plain(activation_rules.hardswish, inplace=False),
    "hardsigmoid": _plain(activation_rules.hardsigmoid, inplace=False),
    "elu": _plain(activation_rules.elu, alpha=1.0, scale=1.0, input_scale=1.0, inplace=False),
    "selu": _plain(activation_rules.selu, inplace=False),
    "celu": _plain(activation_rules.celu, alpha=1.0, inplace=False),
    "dropout": _plain(shapes.dropout, p=0.5, training=True, inplace=False),
    "dropout2d": _plain(shapes.dropout, p=0.5, training=True, inplace=False),
    "permute": shapes.permuted,
    "transpose": _TRANSPOSE,
    "swapaxes": _TRANSPOSE,
    "swapdims": _TRANSPOSE,
    "movedim": _plain(shapes.moved, source=0, destination=0),
    "getitem": shapes.item,
    "narrow": _plain(shapes.narrowed, dim=0, start=0, length=0),
    "select": _plain(shapes.selected, dim=0, index=0),
    "flip": _plain(shapes.flipped, dims=()),
    "expand": shapes.broadcast,
    "expand_as": shapes.broadcast,
    "repeat": shapes.repeated,
    "pad": _plain(shapes.padded, pad=(), mode="constant", value=None),
    "stack": shapes.stacked,
    "mean": _plain(arithmetic.averaged, dim=None, keepdim=False, dtype=None),
    "sum": _plain(arithmetic.summed, dim=None, keepdim=False, dtype=None),
    "amax": _plain(arithmetic.largest, dim=(), keepdim=False),
    "rsub": arithmetic.reversed_difference,
    "reciprocal": arithmetic.reciprocal,
    "pow": _plain(arithmetic.power, exponent=None),
    "addmm": arithmetic.added_product,
    "interpolate": _plain(
        interpolation_rules.interpolate,
        size=None,
        scale_factor=None,
        mode="nearest",
        align_corners=None,
        recompute_scale_factor=None,
        antialias=False,
    ),
    "linear": _plain(_linear, weight=None, bias=None),
    "conv2d": _plain(_conv2d, weight=None, bias=None, stride=1, padding=0, dilation=1, groups=1),
    "batch_norm": _plain(
        _batch_norm,
        running_mean=None,
        running_var=None,
        weight=None,
        bias=None,
        training=False,
        momentum=0.1,
        eps=1e-5,
    ),
    "max_pool2d": _MAX_POOL,
    "avg_pool2d": _plain(
        pooling_rules.average_pool,
        kernel_size=None,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ),
    "adaptive_avg_pool2d": _plain(_adaptive, output_size=None),
    "conv1d": _plain(convolution_rules.convolved, **_CONVOLUTION),
    "conv3d": _plain(convolution_rules.convolved, **_CONVOLUTION),
    "conv_transpose1d": _plain(convolution_rules.transposed, **_TRANSPOSED),
    "conv_transpose2d": _plain(convolution_rules.transposed, **_TRANSPOSED),
    "conv_transpose3d": _plain(convolution_rules.transposed, **_TRANSPOSED),
}
for _names, _rule in (
    ("flatten reshape view unflatten squeeze unsqueeze view_as reshape_as", shapes.reshaped),
    ("clone contiguous double float to type type_as detach requires_grad_ alias", shapes.same),
    ("cat concat concatenate", shapes.joined),
    ("add add_ iadd", arithmetic.total(1)),
    ("sub sub_ isub subtract", arithmetic.total(-1)),
    ("mul mul_ imul multiply", arithmetic.product),
    ("div div_ truediv itruediv divide", arithmetic.quotient),
    ("neg negative", _plain(arithmetic.negated)),
    ("abs absolute abs_", _plain(arithmetic.absolute)),
    ("square", _plain(arithmetic.square)),
    ("exp", _plain(arithmetic.exponential)),
    ("sqrt", _plain(arithmetic.root)),
    ("rsqrt", _plain(arithmetic.inverse_root)),
    ("log", _plain(arithmetic.logarithm)),
    ("maximum", arithmetic.extreme(1)),
    ("minimum", arithmetic.extreme(-1)),
    ("matmul bmm mm", arithmetic.matrix_products),
):
    _TABLE |= dict.fromkeys(_names.split(), _rule)
for _name, _rule in _TABLE.items():
    register_function_rule(_name)(_rule)
