"""Interfaces of operations: intervals, affine transposes, linear relaxations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class IntervalTensor(NamedTuple):
    """Lower and upper ends, shape (n, ...), float64."""

    low: Tensor
    high: Tensor

    def size(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def widened(self, by: Tensor) -> IntervalTensor:
        """Widened on both sides."""
        return IntervalTensor(self.low - by, self.high + by)

    def within(self, other: IntervalTensor) -> IntervalTensor:
        """The intersection of both."""
        return IntervalTensor(
            torch.maximum(self.low, other.low), torch.minimum(self.high, other.high)
        )

    def rows(self, rows: Tensor) -> IntervalTensor:
        """A subset of the samples."""
        return IntervalTensor(self.low[rows], self.high[rows])


def weigh(a: Tensor, values: Tensor) -> Tensor:
    """The dot product of each row, shape (rows,)."""
    return (a * values).flatten(1).sum(1)


class Operation(ABC):
    """One step: from one or more tensors to one.

    Attributes:
        pointwise: Whether each output depends on one input, and grows with it, so that
            intervals lose nothing.
    """

    pointwise: bool = False

    @abstractmethod
    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """What the exact step can return, and how far its rounding may move that.

        Args:
            given: What goes in, shapes (n, ...).

        Returns:
            The interval, shape (n, ...), and the rounding error, broadcastable to it.
        """


class Affine(Operation):
    """An operation that is affine in its inputs."""

    @abstractmethod
    def transpose(self, a: Tensor) -> list[Tensor]:
        """Coefficients of each input from those of the output, shape (rows, ...)."""

    def constant(self, a: Tensor) -> Tensor:
        """The contribution of the constant term to each row, shape (rows,)."""
        return a.new_zeros(len(a))


class Relaxation(Protocol):
    """Linear bounds of an operation over an interval."""

    def pull(self, a: Tensor, rows: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Bound a . f(z) from below by a linear function of z.

        Args:
            a: Coefficients of the output, shape (rows, ...).
            rows: The sample of each row, shape (rows,), int64.
            slopes: Lower slopes to use where they are free, shape of `a`.

        Returns:
            Coefficients of z, shape (rows, ...), and a constant, shape (rows,).
        """
        ...


class Nonlinear(Operation):
    """A nonlinear operation with one input."""

    @abstractmethod
    def relax(self, given: IntervalTensor) -> Relaxation:
        """Linear bounds that hold for all z in an interval."""

    @abstractmethod
    def unsettled(self, given: IntervalTensor) -> Tensor:
        """Inputs whose bounds a narrower interval could tighten, shape of the input, bool."""
