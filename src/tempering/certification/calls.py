"""Which function, operator or method is which operation, by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tempering.certification import activations, pooling
from tempering.certification.affine import Rows, Total
from tempering.certification.layers import normalised
from tempering.certification.operation import Operation
from tempering.certification.request import (
    Made,
    Maker,
    Request,
    Source,
    convolution,
    dense,
    moved,
    scaling,
)


def _plain(make: Callable[..., Made], **defaults: Any) -> Maker:
    """A maker that takes the arguments after the first in order; `inplace` is of no account."""

    def made(request: Request) -> Made:
        values = request.bind(**defaults)
        values.pop("inplace", None)
        return make(request, *values.values())

    return made


def _reshaped(request: Request) -> Made:
    shape = request.shape
    return moved(request, lambda z: z.reshape(len(z), *shape))


def _same(request: Request, *_: Any) -> Made:
    return [], (request.source().step,)


def _dropout(request: Request, _p: Any, training: Any) -> Made:
    if training:
        raise request.refuse("in training mode")
    return _same(request)


def _permuted(request: Request) -> Made:
    given = request.args[1:] or tuple(request.kwargs.values())
    dims = given[0] if given and isinstance(given[0], tuple | list) else given
    order = [int(one) % (len(request.source().shape) + 1) for one in dims]
    if order[0] != 0:
        raise request.refuse("it moves the samples")
    return moved(request, lambda z: z.permute(order))


def _transposed(request: Request, one: int, two: int) -> Made:
    count = len(request.source().shape) + 1
    if 0 in (one % count, two % count):
        raise request.refuse("it moves the samples")
    return moved(request, lambda z: z.transpose(one, two))


def _item(request: Request, at: Any) -> Made:
    places = at if isinstance(at, tuple) else (at,)
    simple = all(isinstance(one, int | slice | None | type(Ellipsis)) for one in places)
    if not simple or places[0] != slice(None):
        raise request.refuse(f"at {at!r}")
    return moved(request, lambda z: z[places])


def _averaged(request: Request, dim: Any, keepdim: Any, dtype: Any) -> Made:
    """Means over some dimensions, not that of the samples."""
    shape = request.source().shape
    count = len(shape) + 1
    given = dim if isinstance(dim, tuple | list) else (dim,)
    if dtype is not None or not given or not all(isinstance(one, int) for one in given):
        raise request.refuse(f"over the dimensions {dim!r}")
    dims = sorted(one % count for one in given)
    if dims[0] == 0:
        raise request.refuse("it averages samples")
    terms = 1
    for one in dims:
        terms *= shape[one - 1]
    if not request.precision.can_sum(terms + 2):
        raise request.refuse(f"with sums of {terms} terms")
    return moved(request, lambda z: z.mean(dims, bool(keepdim)), terms)


def _total(sign: int) -> Maker:
    """Sums and differences, of two tensors or with a constant."""

    def made(request: Request) -> Made:
        one, two = _operands(request)
        if request.kwargs.get("alpha", 1) != 1:
            raise request.refuse("with alpha")
        if isinstance(one, Source) and isinstance(two, Source):
            if one.shape != two.shape:
                raise request.refuse(f"of shapes {one.shape} and {two.shape}")
            return [Total(sign, request.precision)], (one.step, two.step)
        if isinstance(one, Source):
            return _shifted(request, one, 1, two, sign)
        return _shifted(request, two, sign, one, 1)

    return made


def _operands(request: Request) -> tuple[Any, Any]:
    given = [
        *request.args,
        *(request.kwargs[name] for name in ("input", "other") if name in request.kwargs),
    ]
    extra = set(request.kwargs) - {"input", "other", "alpha"}
    if len(given) != 2 or extra:
        raise request.refuse(f"with {', '.join(sorted(extra)) or len(given)} arguments")
    return given[0], given[1]


def _shifted(request: Request, source: Source, own: int, value: Any, sign: int) -> Made:
    dims = len(source.shape)
    shift = sign * request.constant(value, dims)
    scale = torch.full([1] * (dims + 1), float(own), dtype=torch.float64, device=request.device)
    return _on(request, source, scaling(request, scale, shift, 4))


def _on(request: Request, source: Source, operation: Operation) -> Made:
    """An operation on a source that need not be the first argument."""
    if tuple(request.shape) != source.shape:
        raise request.refuse(f"of shape {source.shape} with a constant of more numbers")
    return [operation], (source.step,)


def _product(request: Request) -> Made:
    one, two = _operands(request)
    if isinstance(one, Source) and isinstance(two, Source):
        raise request.refuse("of two tensors that depend on the images")
    source, value = (one, two) if isinstance(one, Source) else (two, one)
    scale = request.constant(value, len(source.shape))
    return _on(request, source, scaling(request, scale, torch.zeros_like(scale), 4))


def _quotient(request: Request) -> Made:
    one, two = _operands(request)
    if not isinstance(one, Source) or isinstance(two, Source):
        raise request.refuse("by a tensor that depends on the images")
    divisor = request.constant(two, len(one.shape))
    if bool((divisor == 0).any()):
        raise request.refuse("by zero")
    return _on(request, one, scaling(request, 1 / divisor, torch.zeros_like(divisor), 8))


def _negated(request: Request) -> Made:
    source = request.source()
    return _shifted(request, source, -1, 0.0, 1)


def _joined(request: Request) -> Made:
    parts = request.args[0] if request.args else request.kwargs.get("tensors")
    dim = request.args[1] if len(request.args) > 1 else request.kwargs.get("dim", 0)
    if not isinstance(parts, tuple | list) or not all(isinstance(one, Source) for one in parts):
        raise request.refuse("of tensors that do not depend on the images")
    along = int(dim) % (len(request.shape) + 1)
    if along == 0:
        raise request.refuse("it adds samples")
    sizes = tuple(one.shape[along - 1] for one in parts)
    return [Rows(along, sizes)], tuple(one.step for one in parts)


def _linear(request: Request, weight: Any, bias: Any) -> Made:
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise request.refuse("with a weight that is no matrix")
    return dense(request, weight, bias)


def _conv2d(
    request: Request, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Made:
    if not isinstance(weight, Tensor):
        raise request.refuse("with a weight that is no tensor")
    return convolution(request, weight, bias, stride, padding, dilation, int(groups))


def _batch_norm(
    request: Request,
    mean: Any,
    variance: Any,
    weight: Any,
    bias: Any,
    training: Any,
    _momentum: Any,
    eps: Any,
) -> Made:
    if training or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        raise request.refuse("with statistics of its batch")
    return normalised(request, mean, variance, weight, bias, float(eps))


def _adaptive(request: Request, _size: Any) -> Made:
    return pooling.adaptive_average_pool(request)


_CLAMP = _plain(activations.clamp, min=None, max=None)
_MAX_POOL = _plain(
    pooling.max_pool,
    kernel_size=None,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
)

FUNCTIONS: dict[str, Maker] = {
    "relu": _plain(activations.relu, inplace=False),
    "relu_": _plain(activations.relu),
    "leaky_relu": _plain(activations.leaky_relu, negative_slope=0.01, inplace=False),
    "leaky_relu_": _plain(activations.leaky_relu, negative_slope=0.01),
    "sigmoid": _plain(activations.sigmoid),
    "tanh": _plain(activations.tanh),
    "silu": _plain(activations.silu, inplace=False),
    "gelu": _plain(activations.gelu, approximate="none"),
    "softplus": _plain(activations.softplus, beta=1.0, threshold=20.0),
    "hardtanh": _plain(activations.clamp, min_val=-1.0, max_val=1.0, inplace=False),
    "relu6": _plain(lambda request: activations.clamp(request, 0.0, 6.0), inplace=False),
    "clamp": _CLAMP,
    "clamp_": _CLAMP,
    "clip": _CLAMP,
    "clamp_min": _plain(lambda request, min_: activations.clamp(request, min_, None), min=None),
    "clamp_max": _plain(lambda request, max_: activations.clamp(request, None, max_), max=None),
    "flatten": _reshaped,
    "reshape": _reshaped,
    "view": _reshaped,
    "unflatten": _reshaped,
    "squeeze": _reshaped,
    "unsqueeze": _reshaped,
    "contiguous": _same,
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
        pooling.average_pool,
        kernel_size=None,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ),
    "adaptive_avg_pool2d": _plain(_adaptive, output_size=None),
}
"""Name -> how its operations are made."""
