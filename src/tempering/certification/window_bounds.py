"""Linear bounds of the neurons of convolutions, over the windows that they see.

auto_LiRPA calls them patches (Xu et al., 2020, section 3.1 and its code).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from tempering.certification.affine_operations import Concatenation, Convolution, ScaleShift, Sum
from tempering.certification.crown import BoundParameters, finished
from tempering.certification.graph import Graph
from tempering.certification.interval import StepBounds
from tempering.certification.linear_bounds import Adjustable, LinearBounds
from tempering.certification.operations import Affine, weigh
from tempering.certification.region import Region
from tempering.certification.windows import Extent, WindowPlan, Windows


@dataclass(eq=False)
class WindowRows:
    """Bounds of neurons of a convolution, over their windows.

    Attributes:
        graph: The network.
        bounds: Intervals of the steps before it.
        region: What goes in.
        at: Number of the step.
        plan: Its windows.
        samples: The sample of each neuron, shape (neurons,), int64.
        places: Its flat position, shape (neurons,), int64.
        rows: The neuron of each row, shape (rows,), int64.
        signs: 1 for its least value, -1 for the negative of its largest, shape (rows,).
        seen: Step -> the windows in it, made when first needed.
    """

    graph: Graph
    bounds: StepBounds
    region: Region
    at: int
    plan: WindowPlan
    samples: Tensor
    places: Tensor
    rows: Tensor
    signs: Tensor
    seen: dict[int, Windows] = field(default_factory=dict)

    def lower_bound(self, tuning: BoundParameters) -> Tensor:
        """Lower bounds of sign x neuron, shape (rows,).

        Args:
            tuning: Lower slopes, over the windows of nonlinear steps after `plan.stop`.
        """
        waiting = {self.at: self._unit()}
        total = self.signs.new_zeros(len(self.signs))
        for number in range(self.at, self.plan.stop, -1):
            here = waiting.pop(number, None)
            if here is None:
                continue
            windows = self._windows(number)
            lost = self._cut(self.bounds.errors[number], windows)[self.rows]
            total = total - weigh(here.abs(), lost)
            if number == 0:
                return total + self._least(here, windows)
            given, constant = self._given(number, here, windows, tuning.slopes.get(number))
            total = total + constant
            self._add(waiting, number, given)
        rows = {
            number: self._windows(number).whole(coefficients, self.rows)
            for number, coefficients in waiting.items()
        }
        bound, _ = finished(
            self.graph, self.bounds, self.region, self.samples[self.rows], rows, total, tuning
        )
        return bound

    def slopes(self) -> dict[int, Tensor]:
        """The lower slopes of CROWN, where there is a choice, as `lower_bound` takes them."""
        chosen = {}
        for number in self.graph.nonlinear_before(self.at):
            lines = self.bounds.relaxation(self.graph, number)
            if not isinstance(lines, Adjustable) or not lines.has_choice:
                continue
            if number <= self.plan.stop:
                chosen[number] = lines.start(self.samples[self.rows])
            elif number in self.plan.extents and isinstance(lines, LinearBounds):
                chosen[number] = self._cut(lines.low_slope, self._windows(number))[self.rows]
        return chosen

    def part(self, active: Tensor) -> WindowRows:
        """Some rows."""
        return dataclasses.replace(self, rows=self.rows[active], signs=self.signs[active])

    def _unit(self) -> Tensor:
        channels, height, width = self.graph.steps[self.at].shape
        one_hot = self.signs.new_zeros(len(self.signs), channels)
        channel = (self.places // (height * width))[self.rows]
        return one_hot.scatter(1, channel[:, None], self.signs[:, None])[:, :, None, None]

    def _windows(self, number: int) -> Windows:
        if number not in self.seen:
            height, width = self.graph.steps[self.at].shape[1:]
            shape = self.graph.steps[number].shape
            extent = self.plan.extents[number]
            self.seen[number] = Windows.of(extent, shape, (height, width), self.places)
        return self.seen[number]

    def _cut(self, values: Tensor, windows: Windows) -> Tensor:
        return windows.cut(values.expand(-1, *windows.shape), self.samples)

    def _given(
        self, number: int, here: Tensor, windows: Windows, slopes: Tensor | None
    ) -> tuple[list[Tensor], Tensor]:
        """Coefficients of the sources over their own windows, and a constant."""
        operation = self.graph.steps[number].operation
        zero = here.new_zeros(len(here))
        if isinstance(operation, Convolution):
            return [_transposed(operation, here)], operation.constant(here)
        if isinstance(operation, ScaleShift):
            scale, shift = (
                part.reshape(-1, 1, 1) if part.ndim == 1 else part
                for part in (operation.scale, operation.shift)
            )
            own = [self._cut(part.expand(1, *windows.shape), windows) for part in (scale, shift)]
            return [here * own[0][self.rows]], weigh(here, own[1][self.rows])
        if isinstance(operation, Sum | Concatenation):
            return operation.transpose(here), zero
        lines = self.bounds.relaxation(self.graph, number)
        if not isinstance(lines, LinearBounds):
            raise TypeError(f"step {self.graph.steps[number].name} has no windows")
        seen = self._lines(lines, windows, slopes is not None)
        pulled, constant = seen.pull(here, self.rows, slopes)
        return [pulled], constant

    def _lines(self, lines: LinearBounds, windows: Windows, free: bool) -> LinearBounds:
        """Linear bounds of each neuron over its window."""
        values: dict[str, Any] = {
            field.name: self._cut(value, windows)
            for field in dataclasses.fields(lines)
            if isinstance(value := getattr(lines, field.name), Tensor)
            and (free or field.name != "free")
        }
        return dataclasses.replace(lines, **values)

    def _add(self, waiting: dict[int, Tensor], number: int, given: list[Tensor]) -> None:
        """Add coefficients to those of their steps, with 0 for what lies in the padding."""
        step = self.graph.steps[number]
        extent: Extent = self.plan.extents[number].before(step.operation)
        for source, part in zip(step.sources, given, strict=True):
            whole = extent.embed(part, self.plan.extents[source])
            if isinstance(step.operation, Affine) and any(extent.shift):
                windows = self._windows(source)
                if windows.stick_out:
                    inside = whole.new_ones(1, *windows.shape)
                    whole = whole * self._cut(inside, windows)[self.rows]
            before = waiting.get(source)
            waiting[source] = whole if before is None else before + whole

    def _least(self, a: Tensor, windows: Windows) -> Tensor:
        """The least a . z, z being what the windows see of the image."""
        seen = self.region.mapped(lambda part: self._cut(part, windows))
        return seen.least(a, self.rows)


def _transposed(operation: Convolution, a: Tensor) -> Tensor:
    """The transposed convolution of windows; padding is cut off later."""
    single = a.shape[2:] == (1, 1) and operation.groups == 1 and operation.dilation == (1, 1)
    if single:
        weight = operation.weight
        return (a.flatten(1) @ weight.flatten(1)).view(len(a), *weight.shape[1:])
    return F.conv_transpose2d(
        a, operation.weight, None, operation.stride, 0, 0, operation.groups, operation.dilation
    )
