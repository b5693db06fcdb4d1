"""Which module is which operation, by the class whose forward it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tempering.certification import activations, pooling
from tempering.certification.request import (
    Made,
    Maker,
    Request,
    alone,
    convolution,
    dense,
    moved,
    scaling,
)
from tempering.models.normalize import Normalize

T = TypeVar("T", bound=nn.Module)


def _layer(request: Request, kind: type[T]) -> T:
    if not isinstance(request.module, kind):
        raise request.refuse(f"not a {kind.__name__}")
    return request.module


def _linear(request: Request) -> Made:
    layer = _layer(request, nn.Linear)
    return dense(request, layer.weight, layer.bias)


def _conv2d(request: Request) -> Made:
    layer = _layer(request, nn.Conv2d)
    if layer.padding_mode != "zeros":
        raise request.refuse(f"with padding_mode={layer.padding_mode!r}")
    return convolution(
        request,
        layer.weight,
        layer.bias,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
    )


def _batch_norm(request: Request) -> Made:
    layer = _layer(request, _BatchNorm)
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None or layer.training:
        raise request.refuse("with statistics of its batch")
    return normalised(request, mean, variance, layer.weight, layer.bias, layer.eps)


def normalised(
    request: Request,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Made:
    """Channel by channel: minus the mean, times weight / sqrt(variance + eps), plus bias.

    Computed in either order of shift and scale, whose intermediate results `reach` bounds.
    """
    dims = len(request.source().shape)
    scale = (variance.detach().double() + eps).rsqrt()
    if weight is not None:
        scale = scale * weight.detach().double()
    middle = mean.detach().double() * scale
    added = torch.zeros_like(middle) if bias is None else bias.detach().double()
    form = [1, -1] + [1] * (dims - 1)
    step = scaling(
        request,
        scale.reshape(form),
        (added - middle).reshape(form),
        12,
        (middle.abs() + added.abs()).reshape(form),
    )
    return alone(request, step)


def _normalize(request: Request) -> Made:
    layer = _layer(request, Normalize)
    scale = 1 / layer.std.double()
    return alone(request, scaling(request, scale, -layer.mean.double() * scale, 8))


def _identity(request: Request) -> Made:
    if request.module is not None and request.module.training:
        raise request.refuse("in training mode")
    return [], (request.source().step,)


def _flatten(request: Request) -> Made:
    shape = request.shape
    return moved(request, lambda z: z.reshape(len(z), *shape))


def _with(make: Callable[..., Made], *names: str) -> Maker:
    """A maker that takes attributes of the module."""

    def made(request: Request) -> Made:
        return make(request, *(getattr(request.module, name) for name in names))

    return made


LAYERS: dict[type[Any], Maker] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    cast(type[Any], _BatchNorm): _batch_norm,
    Normalize: _normalize,
    nn.Identity: _identity,
    nn.Dropout: _identity,
    nn.Dropout1d: _identity,
    nn.Dropout2d: _identity,
    nn.AlphaDropout: _identity,
    nn.Flatten: _flatten,
    nn.Unflatten: _flatten,
    nn.ReLU: activations.relu,
    nn.LeakyReLU: _with(activations.leaky_relu, "negative_slope"),
    nn.Sigmoid: activations.sigmoid,
    nn.Tanh: activations.tanh,
    nn.SiLU: activations.silu,
    nn.GELU: _with(activations.gelu, "approximate"),
    nn.Softplus: _with(activations.softplus, "beta", "threshold"),
    nn.Hardtanh: _with(activations.clamp, "min_val", "max_val"),
    nn.MaxPool2d: _with(
        pooling.max_pool,
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "ceil_mode",
        "return_indices",
    ),
    nn.AvgPool2d: _with(
        pooling.average_pool,
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ),
    nn.AdaptiveAvgPool2d: pooling.adaptive_average_pool,
}
"""The class that defines the forward -> how its operations are made."""
