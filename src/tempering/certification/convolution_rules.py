"""Rules of convolutions in any number of dimensions, and of transposed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from tempering.certification.layer_call import LayerCall, Lowered, StepOutput
from tempering.certification.linear_maps import LinearMap
from tempering.certification.shape_rules import padded_source

_PADDINGS = {"reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def padded_by_mode(call: LayerCall, layer: nn.Module) -> tuple[StepOutput, Any]:
    """What a convolution is applied to, and the zeros that it adds.

    Args:
        call: The call.
        layer: A convolution of torch; modes other than zeros are padded first.
    """
    convolution = cast(nn.Conv2d, layer)
    source = call.source()
    if convolution.padding_mode == "zeros":
        return source, convolution.padding
    if convolution.padding_mode not in _PADDINGS:
        raise call.refuse(f"with padding_mode={convolution.padding_mode!r}")
    ends = convolution._reversed_padding_repeated_twice
    return padded_source(call, source, ends, _PADDINGS[convolution.padding_mode]), 0


def convolved(
    call: LayerCall,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    source: StepOutput | None = None,
) -> Lowered:
    """A convolution over one or three dimensions, padded with zeros."""
    source = source or call.source()
    kernel, dims = _kernel(call, weight, source)
    run = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims]
    size = kernel.abs()

    def of(used: Tensor) -> Any:
        return lambda z: run(z, used, None, stride, padding, dilation, groups)

    terms = kernel[0].numel() + 1
    fan_out = kernel.shape[0] // groups * kernel[0, 0].numel()
    return _mapped(call, source, of(kernel), of(size), bias, terms, fan_out)


def transposed(
    call: LayerCall,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Lowered:
    """A transposed convolution."""
    source = call.source()
    kernel, dims = _kernel(call, weight, source)
    run = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[dims]
    back = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims]
    size = kernel.abs()

    def of(used: Tensor) -> Any:
        return lambda z: run(z, used, None, stride, padding, output_padding, groups, dilation)

    def transpose(a: Tensor) -> Tensor:
        whole = back(a, kernel, None, stride, padding, dilation, groups)
        return whole[(slice(None), slice(None), *map(slice, source.shape[1:]))]

    terms = kernel.shape[0] // groups * kernel[0, 0].numel() + 1
    fan_out = kernel[0].numel()
    return _mapped(call, source, of(kernel), of(size), bias, terms, fan_out, transpose)


def _kernel(call: LayerCall, weight: Any, source: StepOutput) -> tuple[Tensor, int]:
    if not isinstance(weight, Tensor):
        raise call.refuse("with a weight that depends on the images")
    dims = weight.ndim - 2
    if len(source.shape) != dims + 1:
        raise call.refuse(f"on an input of shape {source.shape}")
    return weight.detach().double().contiguous(), dims


def _mapped(
    call: LayerCall,
    source: StepOutput,
    run: Any,
    absolute: Any,
    bias: Any,
    terms: int,
    fan_out: int,
    back: Any = None,
) -> Lowered:
    if not call.precision.can_sum(terms):
        raise call.refuse(f"with sums of {terms} terms")
    dims: Sequence[int] = [1] * (len(source.shape) - 1)
    added = None
    if isinstance(bias, Tensor):
        added = bias.detach().double().reshape(1, -1, *dims)
    elif bias is not None:
        raise call.refuse("with a bias that depends on the images")
    operation = LinearMap(run, absolute, source.shape, terms, fan_out, call.precision, added, back)
    return [operation], (source.step,)
