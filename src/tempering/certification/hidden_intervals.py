"""Intervals of hidden neurons by linear bounds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tempering.certification.crown import BoundParameters, chunk, crown_lower_bound
from tempering.certification.graph import Graph
from tempering.certification.interval import StepBounds, propagate
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.region import Region
from tempering.certification.window_bounds import WindowWalk
from tempering.certification.windows import WindowPlan, window_plan


@dataclass(eq=False)
class Neurons:
    """The neurons of a step that are to be bounded.

    Attributes:
        graph: The network.
        bounds: Intervals of the steps before it.
        region: What goes in.
        at: Number of the step.
    """

    graph: Graph
    bounds: StepBounds
    region: Region
    at: int

    @cached_property
    def plan(self) -> WindowPlan | None:
        """Their windows, where they make rows shorter."""
        plan = window_plan(self.graph, self.at)
        return plan if plan.pays else None

    def chunk(self, like: Tensor) -> int:
        """Rows that are bounded at a time."""
        return chunk(self.graph, like, self.plan.numbers(self.graph) if self.plan else None)

    def lower_bound(
        self, samples: Tensor, places: Tensor, signs: Tensor, tuning: BoundParameters
    ) -> Tensor:
        """Lower bounds of sign x neuron, shape (rows,).

        Args:
            samples: The sample of each row, shape (rows,), int64.
            places: Its neuron, flat, shape (rows,), int64.
            signs: 1 for its least value, -1 for the negative of its largest, shape (rows,).
            tuning: Free choices.
        """
        if self.plan is not None:
            walk = WindowWalk(
                self.graph, self.bounds, self.region, self.at, self.plan, samples, places, signs
            )
            return walk.lower_bound(tuning)
        shape = self.graph.steps[self.at].shape
        unit = signs.new_zeros(len(signs), math.prod(shape))
        unit = unit.scatter(1, places[:, None], signs[:, None]).reshape(-1, *shape)
        bound, _ = crown_lower_bound(
            self.graph, self.bounds, self.region, self.at, samples, unit, tuning
        )
        return bound


def unsettled(graph: Graph, region: Region, bounds: StepBounds, number: int) -> Tensor:
    """Numbers of a step whose interval may still tighten a relaxation, shape (n, ...), bool."""
    known = bounds.intervals[number]
    wanted = torch.zeros_like(known.low, dtype=torch.bool)
    if region.norm == "linf" and graph.exact[number]:
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

    def sharpen(number: int, bounds: StepBounds) -> IntervalTensor:
        known = bounds.intervals[number]
        neurons = Neurons(graph, bounds, region, number)
        wanted = unsettled(graph, region, bounds, number)
        samples, places = wanted.flatten(1).nonzero(as_tuple=True)
        low, high = known.low.flatten(1).clone(), known.high.flatten(1).clone()
        size = max(1, neurons.chunk(low) // 2)
        for start in range(0, len(samples), size):
            if time.monotonic() > until:
                break
            sample, place = samples[start : start + size], places[start : start + size]
            signs = torch.ones(2, len(sample), dtype=low.dtype, device=low.device)
            signs[1] = -1.0
            bound = neurons.lower_bound(
                sample.repeat(2), place.repeat(2), signs.flatten(), BoundParameters()
            )
            least, most = bound[: len(sample)], -bound[len(sample) :]
            low[sample, place] = torch.maximum(low[sample, place], least)
            high[sample, place] = torch.minimum(high[sample, place], most)
        return IntervalTensor(low.reshape(known.low.shape), high.reshape(known.high.shape))

    return propagate(graph, region, known, sharpen)
