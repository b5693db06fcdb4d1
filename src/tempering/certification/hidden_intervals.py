"""Intervals of hidden neurons by linear bounds."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.certification import alpha_crown, crown
from tempering.certification.alpha_crown import (
    AlphaCrown,
    OptimizedParameters,
    initial_slopes,
    maximised,
    parameter_ranges,
)
from tempering.certification.crown import BoundParameters, crown_lower_bound
from tempering.certification.first_sums import is_settled
from tempering.certification.graph import Graph
from tempering.certification.interval import StepBounds, propagate
from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.region import Region
from tempering.certification.window_bounds import WindowRows
from tempering.certification.windows import WindowPlan, window_plan


@dataclass(eq=False)
class WholeRows:
    """Bounds of neurons of a step, each with coefficients of whole steps.

    Attributes:
        graph: The network.
        bounds: Intervals of the steps before it.
        region: What goes in.
        at: Number of the step.
        samples: The sample of each neuron, shape (neurons,), int64.
        places: Its flat position, shape (neurons,), int64.
        rows: The neuron of each row, shape (rows,), int64.
        signs: 1 for its least value, -1 for the negative of its largest, shape (rows,).
    """

    graph: Graph
    bounds: StepBounds
    region: Region
    at: int
    samples: Tensor
    places: Tensor
    rows: Tensor
    signs: Tensor

    def lower_bound(self, tuning: BoundParameters) -> Tensor:
        """Lower bounds of sign x neuron, shape (rows,)."""
        shape = self.graph.steps[self.at].shape
        unit = self.signs.new_zeros(len(self.signs), math.prod(shape))
        unit = unit.scatter(1, self.places[self.rows, None], self.signs[:, None])
        samples, unit = self.samples[self.rows], unit.reshape(-1, *shape)
        bound, _ = crown_lower_bound(
            self.graph, self.bounds, self.region, self.at, samples, unit, tuning
        )
        return bound

    def slopes(self) -> dict[int, Tensor]:
        """The lower slopes of CROWN, where there is a choice."""
        return initial_slopes(self.graph, self.bounds, self.at, self.samples[self.rows])

    def part(self, active: Tensor) -> WholeRows:
        """Some rows."""
        return dataclasses.replace(self, rows=self.rows[active], signs=self.signs[active])


Rows = WholeRows | WindowRows


def unsettled(graph: Graph, region: Region, bounds: StepBounds, number: int) -> Tensor:
    """Numbers of a step whose interval may still tighten a relaxation, shape (n, ...), bool."""
    known = bounds.intervals[number]
    wanted = torch.zeros_like(known.low, dtype=torch.bool)
    if is_settled(graph, region, number):
        return wanted
    for user in graph.inputs_of_nonlinear[number]:
        operation = graph.steps[user].operation
        if isinstance(operation, Nonlinear):
            wanted = wanted | operation.unsettled(known)
    return wanted


def crown_intervals(
    graph: Graph, region: Region, known: StepBounds, until: float = math.inf
) -> StepBounds:
    """Intervals of every step that feeds a relaxation, by CROWN.

    Two backward passes for each number whose interval is not settled yet, so that a network
    trained for certificates costs little and another one much: its neurons, times two. Those
    of a convolution only pass over what they see. Numbers whose interval is exact already are
    left out. At the time `until` of the monotonic clock, those that are left keep the
    intervals that are known.
    """

    def size(plan: WindowPlan | None, like: Tensor) -> int:
        return crown.chunk(graph, like, plan.widest(graph) if plan else None)

    def bound(rows: Rows) -> Tensor:
        return rows.lower_bound(BoundParameters())

    return _sharpened(graph, region, known, until, size, bound)


def alpha_intervals(
    graph: Graph, region: Region, known: StepBounds, settings: AlphaCrown, until: float = math.inf
) -> StepBounds:
    """Intervals of every step that feeds a relaxation, each by slopes of its own.

    Every bound of every neuron that is not settled is maximised over the lower slopes of the
    steps before it, one layer after the other. The margins grow with each of these bounds, so
    no other choice of them is better than their maxima: that is what Xu et al. (2021, section
    3.2) approach for all layers at once. Costs `hidden_steps` times about three backward
    passes for each of these bounds.

    Args:
        graph: The network.
        region: What goes in.
        known: Intervals by CROWN.
        settings: How long.
        until: Time of the monotonic clock at which neurons that are left keep their intervals.
    """

    def size(plan: WindowPlan | None, like: Tensor) -> int:
        return alpha_crown.chunk(graph, like, plan.numbers(graph) if plan else None)

    def bound(rows: Rows) -> Tensor:
        choice = OptimizedParameters(rows.slopes())
        users = graph.inputs_of_nonlinear[rows.at]
        # of a ReLU whose sign is known no tighter interval is needed
        signed = all(isinstance(graph.steps[user].operation, LeakyRectifier) for user in users)
        best, _ = maximised(
            lambda active, tuning: rows.part(active).lower_bound(tuning),
            len(rows.rows),
            choice,
            parameter_ranges(graph, rows.bounds, choice),
            settings.hidden_steps,
            settings.rate,
            0.0 if signed else math.inf,
        )
        return best

    return _sharpened(graph, region, known, until, size, bound)


def _sharpened(
    graph: Graph,
    region: Region,
    known: StepBounds,
    until: float,
    size: Callable[[WindowPlan | None, Tensor], int],
    bound: Callable[[Rows], Tensor],
) -> StepBounds:
    """Intervals of all steps, with unsettled neurons bounded below and above."""

    def sharpen(number: int, bounds: StepBounds) -> IntervalTensor:
        known = bounds.intervals[number]
        wanted = unsettled(graph, region, bounds, number)
        samples, places = wanted.flatten(1).nonzero(as_tuple=True)
        low, high = known.low.flatten(1).clone(), known.high.flatten(1).clone()
        plan = window_plan(graph, number, bounds)
        used = plan if plan.pays else None
        step = max(1, size(used, low) // 2)
        for start in range(0, len(samples), step):
            if time.monotonic() > until:
                break
            sample, place = samples[start : start + step], places[start : start + step]
            rows = torch.arange(len(sample), device=low.device).repeat(2)
            signs = low.new_tensor([1.0, -1.0]).repeat_interleave(len(sample))
            common = graph, bounds, region, number
            own: Rows = (
                WholeRows(*common, sample, place, rows, signs)
                if used is None
                else WindowRows(*common, used, sample, place, rows, signs)
            )
            least, most = bound(own).chunk(2)
            low[sample, place] = torch.maximum(low[sample, place], least)
            high[sample, place] = torch.minimum(high[sample, place], -most)
        return IntervalTensor(low.reshape(known.low.shape), high.reshape(known.high.shape))

    return propagate(graph, region, known, sharpen)
