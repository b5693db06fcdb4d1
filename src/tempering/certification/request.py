"""What a layer or a function is asked for: its operations; and how those are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tempering.certification.affine import Convolution, Dense, Scaling, Weighing
from tempering.certification.operation import Operation
from tempering.certification.precision import Precision
from tempering.certification.tracing import Unsupported


@dataclass(frozen=True)
class Source:
    """A tensor that depends on the images.

    Attributes:
        step: Number of the step that returns it.
        shape: Without the samples.
    """

    step: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Request:
    """One call, its arguments known.

    Attributes:
        name: Qualified name of the layer.
        kind: Its type, or the function.
        module: The layer, if it is one.
        args: Sources and constants.
        kwargs: Sources and constants.
        shape: Of what it returns, without the samples.
        precision: How the network rounds.
        device: Where its weights are.
    """

    name: str
    kind: str
    module: nn.Module | None
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    shape: tuple[int, ...]
    precision: Precision
    device: torch.device

    def refuse(self, reason: str) -> Unsupported:
        """To be raised, with the name of the layer."""
        return Unsupported(self.name, self.kind, reason)

    def source(self) -> Source:
        """The first argument, which must depend on the images."""
        given = self.args[0] if self.args else self.kwargs.get("input")
        if not isinstance(given, Source):
            raise self.refuse("its first argument does not depend on the images")
        return given

    def bind(self, **defaults: Any) -> dict[str, Any]:
        """Values of the arguments after the first, by name, in order.

        Raises:
            Unsupported: If there are others, or one of them depends on the images.
        """
        values = dict(defaults)
        given = dict(zip(defaults, self.args[1:], strict=False))
        given |= {name: one for name, one in self.kwargs.items() if name != "input"}
        unknown = [name for name in given if name not in defaults]
        if unknown or len(self.args) - 1 > len(defaults):
            raise self.refuse(f"with the argument {(unknown or ['one too many'])[0]}")
        if any(isinstance(one, Source) for one in given.values()):
            raise self.refuse("an argument besides the first depends on the images")
        return values | given

    def rounded(self, number: float) -> float:
        """A constant as the network holds it."""
        dtype = torch.float32 if self.precision.unit > 1e-12 else torch.float64
        return float(torch.tensor(float(number), dtype=dtype))

    def constant(self, value: Any, dims: int) -> Tensor:
        """A number or a tensor of numbers, shape broadcastable to (1, ...), float64."""
        if isinstance(value, bool) or not isinstance(value, int | float | Tensor):
            raise self.refuse(f"with {value!r}")
        if isinstance(value, Tensor) and not value.is_floating_point():
            raise self.refuse(f"with a tensor of {value.dtype}")
        if not isinstance(value, Tensor):
            value = torch.tensor(self.rounded(value), dtype=torch.float64)
        found: Tensor = value.detach().double().to(self.device)
        if not bool(found.isfinite().all()):
            raise self.refuse("with a constant that is not finite")
        if found.ndim > dims + 1 or (found.ndim == dims + 1 and found.shape[0] != 1):
            raise self.refuse("with one constant a sample")
        return found.reshape([1] * (dims + 1 - found.ndim) + list(found.shape))


Made = tuple[list[Operation], tuple[int, ...]]
"""Operations in order, and the steps that feed the first of them."""
Maker = Callable[[Request], Made]


def alone(request: Request, *operations: Operation) -> Made:
    """Operations on the first argument, one after the other."""
    return list(operations), (request.source().step,)


def pair(request: Request, value: Any) -> tuple[int, int]:
    """A size along both dimensions."""
    one, two = value if isinstance(value, tuple | list) else (value, value)
    if not isinstance(one, int) or not isinstance(two, int):
        raise request.refuse(f"with the size {value!r}")
    return one, two


def moved(request: Request, run: Callable[[Tensor], Tensor], terms: int = 0) -> Made:
    """Numbers moved, or averaged."""
    return alone(request, Weighing(run, request.source().shape, terms, request.precision))


def scaling(
    request: Request, scale: Tensor, shift: Tensor, roundings: int, reach: Tensor | None = None
) -> Scaling:
    """Each number times a constant, plus a constant; constants in float64."""
    return Scaling(scale, shift, shift if reach is None else reach, roundings, request.precision)


def dense(request: Request, weight: Tensor, bias: Tensor | None) -> Made:
    """A product with a matrix."""
    if not request.precision.can_sum(weight.shape[1] + 1):
        raise request.refuse(f"with sums of {weight.shape[1]} terms")
    weight = weight.detach().double()
    added = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
    return alone(request, Dense(weight, added, request.precision))


def convolution(
    request: Request,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Made:
    """A convolution, padded with zeros."""
    shape = request.source().shape
    steps, spread = pair(request, stride), pair(request, dilation)
    kernel = weight.shape[2:]
    if padding == "valid":
        padding = 0
    if padding == "same":
        extra = [between * (size - 1) for between, size in zip(spread, kernel, strict=True)]
        if any(one % 2 for one in extra):
            raise request.refuse("padded unevenly")
        padding = tuple(one // 2 for one in extra)
    if len(shape) != 3:
        raise request.refuse(f"on an input of shape {shape}")
    if not request.precision.can_sum(weight[0].numel() + 1):
        raise request.refuse(f"with sums of {weight[0].numel()} terms")
    weight = weight.detach().double().contiguous()
    added = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
    operation = Convolution(
        weight,
        added,
        steps,
        pair(request, padding),
        spread,
        groups,
        shape,
        request.precision,
    )
    return alone(request, operation)
