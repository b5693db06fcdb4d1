"""Linear maps that are given as functions: transposed convolutions, padding, copies, stacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from tempering.certification.operations import Affine, IntervalTensor, weigh
from tempering.certification.precision import Precision

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LinearMap(Affine):
    """A linear map of each sample, and a shift.

    Attributes:
        run: The map, from (n, *shape) to (n, ...), float64.
        absolute: The same with absolute weights; `run` itself if no weight is negative.
        shape: Of an input, without the samples.
        terms: Products in a sum; 0 if the network computes nothing here.
        fan_out: In how many sums an input appears.
        precision: How the network rounds.
        bias: Broadcastable to (1, ...), float64, or None.
        back: The transposed map, or None to differentiate `run`.
        reach: Size of what the network sums, from the size of the input; `absolute` if None.
    """

    run: Map
    absolute: Map
    shape: tuple[int, ...]
    terms: int
    fan_out: int
    precision: Precision
    bias: Tensor | None = None
    back: Map | None = None
    reach: Map | None = None

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """Whether every output is a copy of an input of its own."""
        return self.terms == 0 and self.fan_out <= 1

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Map both ends, or centre and radius if a weight is negative."""
        low, high = given[0]
        if self.absolute is self.run:
            ends = self.run(low), self.run(high)
        else:
            middle, spread = self.run((low + high) / 2), self.absolute((high - low) / 2)
            ends = middle - spread, middle + spread
        size = (self.reach or self.absolute)(given[0].size())
        if self.bias is not None:
            ends = ends[0] + self.bias, ends[1] + self.bias
            size = size + self.bias.abs()
        error = self.precision.sums(self.terms, self.fan_out) * size
        return IntervalTensor(*ends), error + self.terms * self.precision.tiny

    def transpose(self, a: Tensor) -> list[Tensor]:
        """The given transpose, or automatic differentiation."""
        if self.back is not None:
            return [self.back(a)]
        with torch.enable_grad():
            probe = a.new_zeros((len(a), *self.shape), requires_grad=True)
            out = self.run(probe)
        (whole,) = torch.autograd.grad(out, probe, a, create_graph=a.requires_grad)
        return [whole]

    def constant(self, a: Tensor) -> Tensor:
        """A b."""
        return a.new_zeros(len(a)) if self.bias is None else weigh(a, self.bias.expand_as(a[:1]))


def copies(run: Map, shape: tuple[int, ...], device: torch.device) -> int:
    """How often a map that copies numbers copies each of them at most."""
    with torch.inference_mode(False), torch.enable_grad():
        probe = torch.zeros((1, *shape), dtype=torch.float64, device=device, requires_grad=True)
        out = run(probe)
    (times,) = torch.autograd.grad(out, probe, torch.ones_like(out))
    return int(times.max()) if times.numel() else 0


@dataclass(frozen=True, eq=False)
class Stacking(Affine):
    """Tensors of one shape, stacked along a new dimension.

    Attributes:
        dim: The new dimension, samples counted.
    """

    dim: int

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Stacked ends."""
        low = torch.stack([part.low for part in given], self.dim)
        high = torch.stack([part.high for part in given], self.dim)
        return IntervalTensor(low, high), torch.zeros_like(low[:1])

    def transpose(self, a: Tensor) -> list[Tensor]:
        """Coefficients of each input."""
        return list(torch.unbind(a, self.dim))


@dataclass(frozen=True, eq=False)
class Packing(Affine):
    """Tensors flattened, one after the other: the input of an operation on several tensors.

    Attributes:
        shapes: Of the inputs, without the samples.
    """

    shapes: tuple[tuple[int, ...], ...]

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Flattened ends."""
        low = torch.cat([part.low.flatten(1) for part in given], 1)
        high = torch.cat([part.high.flatten(1) for part in given], 1)
        return IntervalTensor(low, high), torch.zeros_like(low[:1])

    def transpose(self, a: Tensor) -> list[Tensor]:
        """Coefficients of each input, in its shape."""
        return unpacked(a, self.shapes)


def unpacked(packed: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The tensors of which a packed one, shape (n, numbers), consists."""
    parts = torch.split(packed, [prod(shape) for shape in shapes], 1)
    return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]


@dataclass(frozen=True, eq=False)
class Moment(Affine):
    """The mean of squares along the last dimension, of which rounding depends on more than these.

    A network may compute the variance of z as the mean of squared differences, in one pass, or
    as the mean of squares less the square of the mean. Each strays from the variance by at most
    10 gamma times the mean of z squared, gamma being the error of a sum of that many terms.

    Attributes:
        count: Numbers in a mean.
        shift: A constant that is added.
        precision: How the network rounds.
    """

    count: int
    shift: float
    precision: Precision

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """The mean of the first input; the second is z itself."""
        squares, values = given
        low, high = squares.low.mean(-1, keepdim=True), squares.high.mean(-1, keepdim=True)
        size = values.size().square().mean(-1, keepdim=True) + self.shift
        error = 10 * self.precision.sums(self.count + 8) * size + self.count * self.precision.tiny
        return IntervalTensor(low + self.shift, high + self.shift), error

    def transpose(self, a: Tensor) -> list[Tensor]:
        """Equal shares of the squares."""
        spread = (a / self.count).expand(*a.shape[:-1], self.count)
        return [spread, torch.zeros_like(spread)]

    def constant(self, a: Tensor) -> Tensor:
        """The shift."""
        return a.flatten(1).sum(1) * self.shift
