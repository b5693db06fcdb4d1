"""Affine operations: matrix products, convolutions, scaling, averages, sums, concatenation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.operations import Affine, IntervalTensor, weigh
from tempering.certification.precision import Precision


def _centred(
    given: IntervalTensor, map_: Callable[[Tensor], Tensor], absolute: Callable[[Tensor], Tensor]
) -> tuple[IntervalTensor, Tensor]:
    """The interval of a linear map, and the map of absolute values; costs three products.

    Gowal et al. (2018), section 3, equation 6.
    """
    centre, radius = (given.low + given.high) / 2, (given.high - given.low) / 2
    middle = map_(centre)
    spread, size = absolute(torch.cat([radius, centre.abs()])).chunk(2)
    return IntervalTensor(middle - spread, middle + spread), spread + size


@dataclass(frozen=True, eq=False)
class MatrixProduct(Affine):
    """A matrix product along the last dimension.

    Attributes:
        weight: Shape (out, in), float64.
        bias: Shape (out,), float64.
        precision: How the network rounds.
    """

    weight: Tensor
    bias: Tensor
    precision: Precision

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Propagate centre and radius."""
        absolute = self.weight.abs()
        out, size = _centred(
            given[0], lambda z: F.linear(z, self.weight), lambda z: F.linear(z, absolute)
        )
        terms = self.weight.shape[1] + 1
        share = self.precision.sums(terms, self.weight.shape[0])
        error = share * (size + self.bias.abs()) + terms * self.precision.tiny
        return IntervalTensor(out.low + self.bias, out.high + self.bias), error

    def transpose(self, a: Tensor) -> list[Tensor]:
        """A W."""
        return [a @ self.weight]

    def constant(self, a: Tensor) -> Tensor:
        """A b."""
        return weigh(a, self.bias)


@dataclass(frozen=True, eq=False)
class Convolution(Affine):
    """A convolution over two dimensions, padded with zeros.

    Attributes:
        weight: Shape (out, in / groups, height, width), float64.
        bias: Shape (out,), float64.
        stride: Along both dimensions.
        padding: Along both dimensions, the same at both ends.
        dilation: Along both dimensions.
        groups: How many convolutions stand side by side.
        shape: Of an input, (channels, height, width).
        precision: How the network rounds.
    """

    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    shape: tuple[int, ...]
    precision: Precision

    def _run(self, z: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(z, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Propagate centre and radius."""
        absolute, bias = self.weight.abs(), self.bias[:, None, None]
        out, size = _centred(
            given[0], lambda z: self._run(z, self.weight), lambda z: self._run(z, absolute)
        )
        terms = self.weight[0].numel() + 1
        fan_out = self.weight.shape[0] // self.groups * self.weight[0, 0].numel()
        share = self.precision.sums(terms, fan_out)
        error = share * (size + bias.abs()) + terms * self.precision.tiny
        return IntervalTensor(out.low + bias, out.high + bias), error

    def transpose(self, a: Tensor) -> list[Tensor]:
        """The transposed convolution, without forming a matrix."""
        left_over = [
            size - ((out - 1) * step - 2 * pad + spread * (kernel - 1) + 1)
            for size, out, step, pad, spread, kernel in zip(
                self.shape[1:],
                a.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                self.weight.shape[2:],
                strict=True,
            )
        ]
        whole = F.conv_transpose2d(
            a, self.weight, None, self.stride, self.padding, left_over, self.groups, self.dilation
        )
        return [whole]

    def constant(self, a: Tensor) -> Tensor:
        """A b."""
        return weigh(a, self.bias[:, None, None])


@dataclass(frozen=True, eq=False)
class ScaleShift(Affine):
    """Elementwise: a factor, and a shift.

    Attributes:
        scale: Broadcastable to (1, ...), float64.
        shift: Broadcastable to (1, ...), float64.
        reach: The largest intermediate result besides scale x z, absolute, as `shift`.
        roundings: Units in the last place that may be lost.
        precision: How the network rounds.
    """

    scale: Tensor
    shift: Tensor
    reach: Tensor
    roundings: int
    precision: Precision
    pointwise = True

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Map both ends; swap them where the factor is negative."""
        ends = given[0].low * self.scale, given[0].high * self.scale
        error = self.precision.values(self.roundings) * (
            given[0].size() * self.scale.abs() + self.reach.abs()
        )
        out = IntervalTensor(torch.minimum(*ends) + self.shift, torch.maximum(*ends) + self.shift)
        return out, error + self.roundings * self.precision.tiny

    def transpose(self, a: Tensor) -> list[Tensor]:
        """Coefficients times the factors."""
        return [a * self.scale]

    def constant(self, a: Tensor) -> Tensor:
        """Coefficients times the shifts."""
        return weigh(a, self.shift.expand_as(a[:1]))


@dataclass(frozen=True, eq=False)
class Averaging(Affine):
    """Averages, and rearrangements such as reshape and permute.

    Attributes:
        run: The step: linear, with weights of at least 0 that sum to at most 1 an output.
        shape: Of an input, without the samples.
        terms: Numbers in an average; 0 if numbers are moved only.
        precision: How the network rounds.
    """

    run: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    terms: int
    precision: Precision

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """Whether it is a rearrangement."""
        return self.terms == 0

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Map both ends."""
        out = IntervalTensor(self.run(given[0].low), self.run(given[0].high))
        if self.terms == 0:
            return out, torch.zeros_like(out.low[:1])
        fan_out = max(1, out.low[0].numel())
        error = self.precision.sums(self.terms + 2, fan_out) * self.run(given[0].size())
        return out, error + (self.terms + 2) * self.precision.tiny

    def transpose(self, a: Tensor) -> list[Tensor]:
        """Computed by automatic differentiation."""
        with torch.enable_grad():
            probe = a.new_zeros((len(a), *self.shape), requires_grad=True)
            out = self.run(probe)
        (whole,) = torch.autograd.grad(out, probe, a, create_graph=a.requires_grad)
        return [whole]


@dataclass(frozen=True, eq=False)
class Sum(Affine):
    """The sum, or the difference, of two tensors of one shape.

    Attributes:
        sign: 1 or -1, of the second.
        precision: How the network rounds.
    """

    sign: int
    precision: Precision

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Sums of lower and of upper ends."""
        first, second = given
        other = second if self.sign > 0 else IntervalTensor(-second.high, -second.low)
        error = self.precision.values(1) * (first.size() + second.size())
        return IntervalTensor(first.low + other.low, first.high + other.high), error

    def transpose(self, a: Tensor) -> list[Tensor]:
        """The same coefficients for both inputs, up to the sign."""
        return [a, a * self.sign]


@dataclass(frozen=True, eq=False)
class Concatenation(Affine):
    """Tensors concatenated along a dimension.

    Attributes:
        dim: The dimension, samples counted.
        sizes: Of each along it.
        fixed: Place of each constant among them, and the constant, shape (1, ...).
    """

    dim: int
    sizes: tuple[int, ...]
    fixed: Mapping[int, Tensor] = field(default_factory=dict)

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Concatenated ends."""
        low = torch.cat(self._parts([part.low for part in given]), self.dim)
        high = torch.cat(self._parts([part.high for part in given]), self.dim)
        return IntervalTensor(low, high), torch.zeros_like(low[:1])

    def _parts(self, given: list[Tensor]) -> list[Tensor]:
        """Inputs and constants in order."""
        rows, left = len(given[0]), iter(given)
        return [
            self.fixed[place].expand(rows, *self.fixed[place].shape[1:])
            if place in self.fixed
            else next(left)
            for place in range(len(self.sizes))
        ]

    def transpose(self, a: Tensor) -> list[Tensor]:
        """Coefficients split by input."""
        parts = torch.split(a, list(self.sizes), self.dim)
        return [part for place, part in enumerate(parts) if place not in self.fixed]

    def constant(self, a: Tensor) -> Tensor:
        """The contribution of the constants."""
        parts = torch.split(a, list(self.sizes), self.dim)
        added = a.new_zeros(len(a))
        for place, value in self.fixed.items():
            added = added + weigh(parts[place], value)
        return added
