"""Rules of functions, operators and methods of torch, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tempering.certification import activation_rules, pooling_rules
from tempering.certification.affine_operations import Concatenation, Sum
from tempering.certification.layer_call import (
    LayerCall,
    Lowered,
    StepOutput,
    convolution,
    matrix_product,
    rearranged,
    scale_shift,
)
from tempering.certification.layer_rules import normalised
from tempering.certification.operations import Operation
from tempering.certification.rules import Rule, register_function_rule


def _plain(rule: Callable[..., Lowered], **defaults: Any) -> Rule:
    """A rule whose further arguments are those of the function, in order, without `inplace`."""

    def completed(call: LayerCall) -> Lowered:
        values = call.bind(**defaults)
        values.pop("inplace", None)
        return rule(call, *values.values())

    return completed


def _reshaped(call: LayerCall) -> Lowered:
    shape = call.shape
    return rearranged(call, lambda z: z.reshape(len(z), *shape))


def _same(call: LayerCall, *_: Any) -> Lowered:
    return [], (call.source().step,)


def _dropout(call: LayerCall, _p: Any, training: Any) -> Lowered:
    if training:
        raise call.refuse("in training mode")
    return _same(call)


def _permuted(call: LayerCall) -> Lowered:
    given = call.args[1:] or tuple(call.kwargs.values())
    dims = given[0] if given and isinstance(given[0], tuple | list) else given
    order = [int(dim) % (len(call.source().shape) + 1) for dim in dims]
    if order[0] != 0:
        raise call.refuse("it moves the samples")
    return rearranged(call, lambda z: z.permute(order))


def _transposed(call: LayerCall, dim0: int, dim1: int) -> Lowered:
    count = len(call.source().shape) + 1
    if 0 in (dim0 % count, dim1 % count):
        raise call.refuse("it moves the samples")
    return rearranged(call, lambda z: z.transpose(dim0, dim1))


def _item(call: LayerCall, at: Any) -> Lowered:
    places = at if isinstance(at, tuple) else (at,)
    simple = all(isinstance(place, int | slice | None | type(Ellipsis)) for place in places)
    if not simple or places[0] != slice(None):
        raise call.refuse(f"at {at!r}")
    return rearranged(call, lambda z: z[places])


def _averaged(call: LayerCall, dim: Any, keepdim: Any, dtype: Any) -> Lowered:
    """Mean over dimensions other than the batch."""
    shape = call.source().shape
    count = len(shape) + 1
    given = dim if isinstance(dim, tuple | list) else (dim,)
    if dtype is not None or not given or not all(isinstance(d, int) for d in given):
        raise call.refuse(f"over the dimensions {dim!r}")
    dims = sorted(d % count for d in given)
    if dims[0] == 0:
        raise call.refuse("it averages samples")
    terms = 1
    for d in dims:
        terms *= shape[d - 1]
    if not call.precision.can_sum(terms + 2):
        raise call.refuse(f"with sums of {terms} terms")
    return rearranged(call, lambda z: z.mean(dims, bool(keepdim)), terms)


def _total(sign: int) -> Rule:
    """Sums and differences, of two tensors or with a constant."""

    def made(call: LayerCall) -> Lowered:
        left, right = _operands(call)
        if call.kwargs.get("alpha", 1) != 1:
            raise call.refuse("with alpha")
        if isinstance(left, StepOutput) and isinstance(right, StepOutput):
            if left.shape != right.shape:
                raise call.refuse(f"of shapes {left.shape} and {right.shape}")
            return [Sum(sign, call.precision)], (left.step, right.step)
        if isinstance(left, StepOutput):
            return _shifted(call, left, 1, right, sign)
        return _shifted(call, right, sign, left, 1)

    return made


def _operands(call: LayerCall) -> tuple[Any, Any]:
    given = [
        *call.args,
        *(call.kwargs[name] for name in ("input", "other") if name in call.kwargs),
    ]
    extra = set(call.kwargs) - {"input", "other", "alpha"}
    if len(given) != 2 or extra:
        raise call.refuse(f"with {', '.join(sorted(extra)) or len(given)} arguments")
    return given[0], given[1]


def _shifted(call: LayerCall, source: StepOutput, own: int, value: Any, sign: int) -> Lowered:
    dims = len(source.shape)
    shift = sign * call.constant(value, dims)
    scale = torch.full([1] * (dims + 1), float(own), dtype=torch.float64, device=call.device)
    return _on(call, source, scale_shift(call, scale, shift, 4))


def _on(call: LayerCall, source: StepOutput, operation: Operation) -> Lowered:
    """An operation on a step output that need not be the first argument."""
    if tuple(call.shape) != source.shape:
        raise call.refuse(f"of shape {source.shape} with a constant of more numbers")
    return [operation], (source.step,)


def _product(call: LayerCall) -> Lowered:
    left, right = _operands(call)
    if isinstance(left, StepOutput) and isinstance(right, StepOutput):
        raise call.refuse("of two tensors that depend on the images")
    source, value = (left, right) if isinstance(left, StepOutput) else (right, left)
    scale = call.constant(value, len(source.shape))
    return _on(call, source, scale_shift(call, scale, torch.zeros_like(scale), 4))


def _quotient(call: LayerCall) -> Lowered:
    left, right = _operands(call)
    if not isinstance(left, StepOutput) or isinstance(right, StepOutput):
        raise call.refuse("by a tensor that depends on the images")
    divisor = call.constant(right, len(left.shape))
    if bool((divisor == 0).any()):
        raise call.refuse("by zero")
    return _on(call, left, scale_shift(call, 1 / divisor, torch.zeros_like(divisor), 8))


def _negated(call: LayerCall) -> Lowered:
    source = call.source()
    return _shifted(call, source, -1, 0.0, 1)


def _joined(call: LayerCall) -> Lowered:
    parts = call.args[0] if call.args else call.kwargs.get("tensors")
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)
    if not isinstance(parts, tuple | list) or not all(
        isinstance(part, StepOutput) for part in parts
    ):
        raise call.refuse("of tensors that do not depend on the images")
    along = int(dim) % (len(call.shape) + 1)
    if along == 0:
        raise call.refuse("it adds samples")
    sizes = tuple(part.shape[along - 1] for part in parts)
    return [Concatenation(along, sizes)], tuple(part.step for part in parts)


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
    "flatten": _reshaped,
    "reshape": _reshaped,
    "view": _reshaped,
    "unflatten": _reshaped,
    "squeeze": _reshaped,
    "unsqueeze": _reshaped,
    "clone": _same,
    "contiguous": _same,
    "double": _same,
    "float": _same,
    "to": _same,
    "type": _same,
    "type_as": _same,
    "dropout": _plain(_dropout, p=0.5, training=True, inplace=False),
    "dropout2d": _plain(_dropout, p=0.5, training=True, inplace=False),
    "permute": _permuted,
    "transpose": _plain(_transposed, dim0=0, dim1=0),
    "getitem": _plain(_item, at=None),
    "mean": _plain(_averaged, dim=None, keepdim=False, dtype=None),
    "add": _total(1),
    "add_": _total(1),
    "iadd": _total(1),
    "sub": _total(-1),
    "isub": _total(-1),
    "mul": _product,
    "imul": _product,
    "div": _quotient,
    "truediv": _quotient,
    "itruediv": _quotient,
    "neg": _negated,
    "cat": _joined,
    "concat": _joined,
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
}
for _name, _rule in _TABLE.items():
    register_function_rule(_name)(_rule)
