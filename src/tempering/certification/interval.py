"""Interval bound propagation through all steps of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.certification.first_sums import FirstSums
from tempering.certification.graph import Graph, GraphStep
from tempering.certification.operations import IntervalTensor, Nonlinear, Relaxation
from tempering.certification.precision import Precision
from tempering.certification.region import Region
from tempering.certification.unsupported import Unsupported


@dataclass(eq=False)
class StepBounds:
    """Intervals of each step, for some samples.

    Attributes:
        intervals: Of each step, rounding included, shapes (n, ...).
        errors: Rounding of each step, broadcastable to its interval.
        relaxed: Linear bounds of nonlinear steps, made when first asked for.
    """

    intervals: list[IntervalTensor]
    errors: list[Tensor]
    relaxed: dict[int, Relaxation] = field(default_factory=dict)

    def relaxation(self, graph: Graph, number: int) -> Relaxation:
        """Linear bounds of a nonlinear step."""
        if number not in self.relaxed:
            step = graph.steps[number]
            if not isinstance(step.operation, Nonlinear):
                raise TypeError(f"step {step.name} is {type(step.operation).__name__}")
            given = self.intervals[step.sources[0]]
            # crossed ends mean that no image leads here: any line will do
            given = IntervalTensor(given.low, torch.maximum(given.low, given.high))
            self.relaxed[number] = step.operation.relax(given)
        return self.relaxed[number]

    def part(self, rows: Tensor) -> StepBounds:
        """Some samples."""
        errors = [error[rows] if len(error) > 1 else error for error in self.errors]
        return StepBounds([interval.rows(rows) for interval in self.intervals], errors)

    def replaced(self, rows: Tensor, other: StepBounds) -> StepBounds:
        """The same, with tighter bounds of some samples."""
        intervals = []
        for old, new in zip(self.intervals, other.intervals, strict=True):
            low, high = old.low.clone(), old.high.clone()
            low[rows], high[rows] = new.low, new.high
            intervals.append(IntervalTensor(low, high))
        return StepBounds(intervals, list(self.errors))


def refuse_overflow(
    precision: Precision | None, step: GraphStep, out: IntervalTensor, error: Tensor
) -> None:
    """Raise an error where a network may leave the range of its numbers.

    Args:
        precision: How it rounds.
        step: One of its steps.
        out: The interval of the step.
        error: Its rounding.

    Raises:
        Unsupported: If the step may overflow.
    """
    if precision and precision.may_overflow(out.low, out.high, error):
        kind = type(step.operation).__name__
        raise Unsupported(step.name, kind, "its values may overflow")


Sharpen = Callable[[int, StepBounds], IntervalTensor]
"""From a step's number and the bounds up to it to a tighter interval."""


def propagate(
    graph: Graph, region: Region, known: StepBounds | None = None, sharpen: Sharpen | None = None
) -> StepBounds:
    """Interval bounds of every step, from the input on (Gowal et al., 2018, section 3).

    About three forward passes a sample in float64, and the memory of as many activations.

    Args:
        graph: The network.
        region: What goes in.
        known: Intervals that hold already; the result lies within them.
        sharpen: Asked for each step that feeds a relaxation.

    Returns:
        The bounds.

    Raises:
        Unsupported: If a step may overflow in the type of the network.
    """
    first = region.box
    error = graph.cast * first.size()
    bounds = StepBounds([first.widened(error)], [error])
    sums = FirstSums(graph, region, error) if region.norm != "linf" else None
    for number, step in enumerate(graph.steps):
        if step.operation is None:
            continue
        out, error = step.operation.interval([bounds.intervals[at] for at in step.sources])
        out = out.widened(error)
        refuse_overflow(graph.precision, step, out, error)
        if sums is not None:
            out = sums.narrowed(number, out, error)
        if known is not None:
            out = out.within(known.intervals[number])
        bounds.intervals.append(out)
        bounds.errors.append(error)
        if sharpen is not None and number in graph.inputs_of_nonlinear:
            bounds.intervals[number] = sharpen(number, bounds)
    return bounds
