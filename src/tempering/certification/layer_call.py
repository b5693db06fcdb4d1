"""The call that a rule receives, and the operations from which it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.certification.affine_operations import (
    Averaging,
    Convolution,
    MatrixProduct,
    ScaleShift,
)
from tempering.certification.linear_maps import LinearMap, Map, copies
from tempering.certification.operations import Operation
from tempering.certification.precision import Precision
from tempering.certification.tracing import Unsupported


@dataclass(frozen=True)
class StepOutput:
    """A tensor that depends on the images.

    Attributes:
        step: Number of the step that returns it.
        shape: Without the samples.
    """

    step: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SeveralTensors:
    """Several tensors that depend on the images, such as what `chunk` returns.

    Attributes:
        source: The tensor of which they are parts.
        run: The call that returns them.
    """

    source: StepOutput
    run: Callable[[Tensor], Sequence[Tensor]]


Append = Callable[[Operation, tuple[int, ...]], StepOutput]
"""Adds an operation, applied to the results of some steps."""


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer or function, with its arguments.

    Attributes:
        name: Qualified name of the layer.
        kind: Its type, or the function.
        module: The layer, if it is one.
        args: Sources and constants.
        kwargs: Sources and constants.
        shape: Of what it returns, without the samples.
        precision: How the network rounds.
        device: Where its weights are.
        append: Adds a step; see `then`.
    """

    name: str
    kind: str
    module: nn.Module | None
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    shape: tuple[int, ...]
    precision: Precision
    device: torch.device
    append: Append

    def refuse(self, reason: str) -> Unsupported:
        """The error to raise for an unsupported argument; names the layer."""
        return Unsupported(self.name, self.kind, reason)

    def source(self) -> StepOutput:
        """The first argument, which must depend on the images."""
        given = self.args[0] if self.args else self.kwargs.get("input")
        if not isinstance(given, StepOutput):
            raise self.refuse("its first argument does not depend on the images")
        return given

    def then(self, operation: Operation, *sources: StepOutput) -> StepOutput:
        """Apply an operation; for rules that are more than operations in sequence.

        Args:
            operation: What is computed.
            *sources: What it is computed from, in order.

        Returns:
            Its result, from which further operations, or `result`, can follow.
        """
        return self.append(operation, tuple(source.step for source in sources))

    def mapped(self, source: StepOutput, run: Map) -> StepOutput:
        """Numbers that are copied or left out, by a function of (n, ...) in float64."""
        fan_out = copies(run, source.shape, self.device)
        return self.then(LinearMap(run, run, source.shape, 0, fan_out, self.precision), source)

    def expanded(self, source: StepOutput, shape: tuple[int, ...]) -> StepOutput:
        """A tensor broadcast to a shape of as many dimensions."""
        if source.shape == shape:
            return source
        if len(source.shape) != len(shape):
            raise self.refuse(f"of shapes {source.shape} and {shape}")
        return self.mapped(source, lambda z: z.expand(-1, *shape))

    def bind(self, **defaults: Any) -> dict[str, Any]:
        """Values of the arguments after the first, by name, in order.

        Raises:
            Unsupported: If there are others, or one of them depends on the images.
        """
        values = dict(defaults)
        given = dict(zip(defaults, self.args[1:], strict=False))
        given |= {name: value for name, value in self.kwargs.items() if name != "input"}
        unknown = [name for name in given if name not in defaults]
        if unknown or len(self.args) - 1 > len(defaults):
            raise self.refuse(f"with the argument {(unknown or ['one too many'])[0]}")
        if any(isinstance(value, StepOutput) for value in given.values()):
            raise self.refuse("an argument besides the first depends on the images")
        return values | given

    def rounded(self, number: float) -> float:
        """A constant, rounded to the precision of the network."""
        dtype = torch.float32 if self.precision.unit > 1e-12 else torch.float64
        return float(torch.tensor(float(number), dtype=dtype))

    def constant(self, value: Any, dims: int) -> Tensor:
        """A number or tensor as float64, shape broadcastable to (1, ...)."""
        if isinstance(value, bool) or not isinstance(value, int | float | Tensor):
            raise self.refuse(f"with {value!r}")
        if isinstance(value, Tensor) and not value.is_floating_point():
            raise self.refuse(f"with a tensor of {value.dtype}")
        if not isinstance(value, Tensor):
            value = torch.tensor(self.rounded(value), dtype=torch.float64)
        tensor: Tensor = value.detach().double().to(self.device)
        if not bool(tensor.isfinite().all()):
            raise self.refuse("with a constant that is not finite")
        if tensor.ndim > dims + 1 or (tensor.ndim == dims + 1 and tensor.shape[0] != 1):
            raise self.refuse("with one constant a sample")
        return tensor.reshape([1] * (dims + 1 - tensor.ndim) + list(tensor.shape))


Lowered = tuple[list[Operation], tuple[int, ...]]
"""Operations in sequence, and the numbers of the steps that feed the first of them."""


def in_sequence(call: LayerCall, *operations: Operation) -> Lowered:
    """Operations applied to the first argument, one after the other."""
    return list(operations), (call.source().step,)


def result(out: StepOutput) -> Lowered:
    """What a rule returns that has added its steps with `LayerCall.then`."""
    return [], (out.step,)


def pair(call: LayerCall, value: Any) -> tuple[int, int]:
    """A size for both spatial dimensions."""
    height, width = value if isinstance(value, tuple | list) else (value, value)
    if not isinstance(height, int) or not isinstance(width, int):
        raise call.refuse(f"with the size {value!r}")
    return height, width


def rearranged(call: LayerCall, run: Callable[[Tensor], Tensor], terms: int = 0) -> Lowered:
    """A rearrangement of the input, or averages over `terms` entries."""
    return in_sequence(call, Averaging(run, call.source().shape, terms, call.precision))


def scale_shift(
    call: LayerCall, scale: Tensor, shift: Tensor, roundings: int, reach: Tensor | None = None
) -> ScaleShift:
    """Elementwise scale and shift; constants in float64."""
    return ScaleShift(scale, shift, shift if reach is None else reach, roundings, call.precision)


def matrix_product(
    call: LayerCall, weight: Tensor, bias: Tensor | None, source: StepOutput | None = None
) -> Lowered:
    """A matrix product and a bias, of the first argument unless another source is given."""
    source = source or call.source()
    if not call.precision.can_sum(weight.shape[1] + 1):
        raise call.refuse(f"with sums of {weight.shape[1]} terms")
    weight = weight.detach().double()
    added = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
    return [MatrixProduct(weight, added, call.precision)], (source.step,)


def convolution(
    call: LayerCall,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    source: StepOutput | None = None,
) -> Lowered:
    """A convolution with zero padding, of the first argument unless another source is given."""
    source = source or call.source()
    shape = source.shape
    steps, spread = pair(call, stride), pair(call, dilation)
    kernel = weight.shape[2:]
    if padding == "valid":
        padding = 0
    if padding == "same":
        extra = [between * (size - 1) for between, size in zip(spread, kernel, strict=True)]
        if any(amount % 2 for amount in extra):
            top, left = (amount // 2 for amount in extra)
            ends = (left, extra[1] - left, top, extra[0] - top)
            source = call.mapped(source, lambda z: F.pad(z, ends))
            shape, padding = source.shape, 0
        else:
            padding = tuple(amount // 2 for amount in extra)
    if len(shape) != 3:
        raise call.refuse(f"on an input of shape {shape}")
    if not call.precision.can_sum(weight[0].numel() + 1):
        raise call.refuse(f"with sums of {weight[0].numel()} terms")
    weight = weight.detach().double().contiguous()
    added = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
    operation = Convolution(
        weight,
        added,
        steps,
        pair(call, padding),
        spread,
        groups,
        shape,
        call.precision,
    )
    return [operation], (source.step,)
