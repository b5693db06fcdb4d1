"""Where a neuron of a convolution sees its input: extents, and coefficients over them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.affine_operations import Concatenation, Convolution, ScaleShift, Sum
from tempering.certification.graph import Graph
from tempering.certification.interval import StepBounds
from tempering.certification.linear_bounds import LinearBounds
from tempering.certification.operations import Nonlinear, Operation

Pair = tuple[int, int]
_WIDEST = 0.5
"""Largest share of a step that a window may hold; beyond it whole rows are as cheap."""


class Extent(NamedTuple):
    """A window that moves with a neuron: its first corner is scale x place + shift.

    Attributes:
        scale: Along both dimensions, for a step of the neuron by 1.
        shift: The corner of the neuron at (0, 0); negative in the padding.
        size: Height and width.
    """

    scale: Pair
    shift: Pair
    size: Pair

    def before(self, operation: Operation | None) -> Extent:
        """What a window reads of the input of an operation."""
        if not isinstance(operation, Convolution):
            return self
        stride, padding, dilation = operation.stride, operation.padding, operation.dilation
        span = [
            spread * (size - 1) + 1
            for spread, size in zip(dilation, operation.weight.shape[2:], strict=True)
        ]
        return Extent(
            (self.scale[0] * stride[0], self.scale[1] * stride[1]),
            (self.shift[0] * stride[0] - padding[0], self.shift[1] * stride[1] - padding[1]),
            (
                (self.size[0] - 1) * stride[0] + span[0],
                (self.size[1] - 1) * stride[1] + span[1],
            ),
        )

    def joined(self, other: Extent) -> Extent | None:
        """The smallest window that holds both; None if they move differently."""
        if self.scale != other.scale:
            return None
        low = min(self.shift[0], other.shift[0]), min(self.shift[1], other.shift[1])
        ends = zip(self.end(), other.end(), strict=True)
        bottom, right = (max(pair) for pair in ends)
        return Extent(self.scale, low, (bottom - low[0], right - low[1]))

    def end(self) -> Pair:
        """The far corner of the neuron at (0, 0)."""
        return self.shift[0] + self.size[0], self.shift[1] + self.size[1]

    def embed(self, a: Tensor, whole: Extent) -> Tensor:
        """Coefficients over this window as those over a larger one that moves with it."""
        if self == whole:
            return a
        (top, left), (bottom, right) = (
            [p - q for p, q in zip(first, second, strict=True)]
            for first, second in ((self.shift, whole.shift), (whole.end(), self.end()))
        )
        return F.pad(a, (left, right, top, bottom))


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """How far back the coefficients of a step's neurons stay within windows.

    Attributes:
        extents: Step -> window, of the step itself and of those before it.
        stop: The step at which windows end and whole rows go on; -1 if they reach the image.
    """

    extents: dict[int, Extent]
    stop: int

    @property
    def pays(self) -> bool:
        """Whether windows hold for at least one sum before whole rows go on."""
        return len(self.extents) > 1 and any(
            extent.size != (1, 1) for step, extent in self.extents.items() if step > self.stop
        )

    def widest(self, graph: Graph) -> int:
        """Coefficients of a row in its widest step."""
        return max(self._sizes(graph), default=1)

    def numbers(self, graph: Graph) -> int:
        """Coefficients of a row in all steps."""
        return max(1, sum(self._sizes(graph)))

    def _sizes(self, graph: Graph) -> list[int]:
        """Coefficients of a row in each step: over its window, or of the whole step."""
        inside = {
            step: graph.steps[step].shape[0] * extent.size[0] * extent.size[1]
            for step, extent in self.extents.items()
            if step > self.stop
        }
        whole = [prod(graph.steps[step].shape) for step in range(self.stop + 1)]
        return [*inside.values(), *whole]


def window_plan(graph: Graph, at: int, bounds: StepBounds) -> WindowPlan:
    """Windows of the neurons of a step, back to the image or to the first step without.

    Args:
        graph: The network.
        at: Number of the step.
        bounds: Intervals of the steps before it.
    """
    if len(graph.steps[at].shape) != 3:
        return WindowPlan({}, at)
    extents = {at: Extent((1, 1), (0, 0), (1, 1))}
    for number in range(at, -1, -1):
        here = extents.get(number)
        if here is None:
            continue
        step = graph.steps[number]
        if _too_wide(here, step.shape) or not _has_windows(graph, number, bounds):
            return WindowPlan(extents, number)
        for source in step.sources:
            given = here.before(step.operation)
            joined = extents[source].joined(given) if source in extents else given
            if joined is None:
                return WindowPlan(extents, number)
            extents[source] = joined
    return WindowPlan(extents, -1)


def _too_wide(here: Extent, shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and here.size[0] * here.size[1] > max(1, _WIDEST * prod(shape[1:]))


def _has_windows(graph: Graph, number: int, bounds: StepBounds) -> bool:
    """Whether a step and its inputs are images, and coefficients over windows pass it."""
    step = graph.steps[number]
    shapes = [step.shape, *(graph.steps[source].shape for source in step.sources)]
    if any(len(shape) != 3 for shape in shapes):
        return False
    match step.operation:
        case None | Convolution() | Sum():
            return True
        case Concatenation(dim=dim, fixed=fixed):
            return dim == 1 and not fixed
        case ScaleShift(scale=scale, shift=shift):
            return {scale.ndim, shift.ndim} <= {1, 4}
        case Nonlinear(pointwise=True):
            return isinstance(bounds.relaxation(graph, number), LinearBounds)
        case _:
            return False


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of some neurons in one step.

    Attributes:
        extent: As it moves.
        shape: Of the step, (channels, height, width).
        index: Position of each number of each window in the padded step, shape (neurons, size).
        pads: Left, right, top and bottom, so that no window sticks out.
    """

    extent: Extent
    shape: tuple[int, ...]
    index: Tensor
    pads: tuple[int, int, int, int]

    @classmethod
    def of(cls, extent: Extent, shape: tuple[int, ...], start: Pair, places: Tensor) -> Windows:
        """The windows of neurons at flat places of a step.

        Args:
            extent: As it moves.
            shape: Of the step in which the windows lie.
            start: Height and width of the step of the neurons.
            places: Flat positions of the neurons, channels included, shape (neurons,).
        """
        place = places % (start[0] * start[1])
        corners, before, sides = [], [], []
        for axis, at in enumerate((place // start[1], place % start[1])):
            furthest = extent.scale[axis] * (start[axis] - 1) + extent.end()[axis]
            low = max(0, -extent.shift[axis])
            high = max(0, furthest - shape[1 + axis])
            corners.append(extent.scale[axis] * at + extent.shift[axis] + low)
            before.append((low, high))
            sides.append(shape[1 + axis] + low + high)
        channel, row, column = (
            torch.arange(count, device=places.device) for count in (shape[0], *extent.size)
        )
        inside = (channel[:, None, None] * sides[0] + row[:, None]) * sides[1] + column
        index = (corners[0] * sides[1] + corners[1])[:, None] + inside.flatten()
        return cls(extent, shape, index, (*before[1], *before[0]))

    @property
    def stick_out(self) -> bool:
        """Whether some windows reach into the padding."""
        return any(self.pads)

    def cut(self, values: Tensor, samples: Tensor) -> Tensor:
        """The values of each window, 0 in the padding.

        Args:
            values: Of the step, shape (n or 1, channels, height, width).
            samples: The sample of each neuron, shape (neurons,).

        Returns:
            Shape (neurons, channels, *size).
        """
        padded = F.pad(values, self.pads) if self.stick_out else values.contiguous()
        index = self.index
        if len(values) > 1:
            index = index + samples[:, None] * padded[0].numel()
        return padded.take(index).view(-1, self.shape[0], *self.extent.size)

    def whole(self, a: Tensor, rows: Tensor) -> Tensor:
        """Coefficients as those of the whole step, shape (rows, *shape).

        Args:
            a: Over the windows, shape (rows, channels, *size).
            rows: The neuron of each row, shape (rows,).
        """
        left, right, top, bottom = self.pads
        height, width = self.shape[1] + top + bottom, self.shape[2] + left + right
        padded = a.new_zeros(len(a), self.shape[0] * height * width)
        padded = padded.scatter(1, self.index[rows], a.flatten(1)).view(
            -1, self.shape[0], height, width
        )
        return padded[:, :, top : height - bottom, left : width - right]
