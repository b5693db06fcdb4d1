"""CROWN: linear bounds, propagated backwards from an output to the image."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.certification.graph import Graph
from tempering.certification.interval import StepBounds
from tempering.certification.operations import Affine, weigh
from tempering.certification.region import Region

_MEMORY = 2**29
"""Bytes that the coefficients of one chunk and its temporaries may take on a GPU."""
_CACHE = 2**24
"""On a processor, where chunks that leave its cache take three times as long."""
_COPIES = 10
"""Estimated number of simultaneous tensors of the widest step."""
_CHUNK = 2048
"""Largest number of rows in a chunk; larger ones are no faster."""


@dataclass(eq=False)
class BoundParameters:
    """Free parameters of a linear bound, for each row; every value is sound.

    Attributes:
        slopes: Nonlinear step -> lower slopes, shape (rows, ...).
        pushes: Step -> coefficients that are added to its own, shape (rows, ...): a
            multiplier of at least 0 for each number whose sign is known, times that sign,
            negated (Wang et al., 2021, section 3.1).
        seen: If given, filled with the coefficients of nonlinear steps.
    """

    slopes: dict[int, Tensor] = field(default_factory=dict)
    pushes: dict[int, Tensor] = field(default_factory=dict)
    seen: dict[int, Tensor] | None = None


def crown_lower_bound(
    graph: Graph,
    bounds: StepBounds,
    region: Region,
    at: int,
    rows: Tensor,
    a: Tensor,
    tuning: BoundParameters | None = None,
) -> tuple[Tensor, Tensor]:
    """Bound a . z from below, z being what step `at` returns (Zhang et al., 2018, theorem 3.2).

    Costs about one backward pass a row.

    Args:
        graph: The network.
        bounds: Intervals of the steps before it.
        region: What goes in.
        at: Number of the step.
        rows: The sample of each row, shape (rows,), int64.
        a: Coefficients, shape (rows, *shape of the step), float64.
        tuning: Choices; by default those of CROWN.

    Returns:
        Bounds, shape (rows,), and the coefficients of the image, shape (rows, c, h, w).
    """
    tuning = tuning or BoundParameters()
    return finished(graph, bounds, region, rows, {at: a}, a.new_zeros(len(a)), tuning)


def finished(
    graph: Graph,
    bounds: StepBounds,
    region: Region,
    rows: Tensor,
    waiting: dict[int, Tensor],
    total: Tensor,
    tuning: BoundParameters,
) -> tuple[Tensor, Tensor]:
    """Propagate coefficients of some steps back to the image.

    Args:
        graph: The network.
        bounds: Intervals of the steps before them.
        region: What goes in.
        rows: The sample of each row, shape (rows,), int64.
        waiting: Step -> its coefficients, shape (rows, *shape of the step).
        total: What has been added so far, shape (rows,).
        tuning: Free choices.

    Returns:
        As of `crown_lower_bound`.
    """
    for number in range(max(waiting), 0, -1):
        here = waiting.pop(number, None)
        if number in tuning.pushes:
            push = tuning.pushes[number]
            here = push if here is None else here + push
        if here is None:
            continue
        step = graph.steps[number]
        total = total - _lost(here, bounds.errors[number], rows)
        if isinstance(step.operation, Affine):
            total = total + step.operation.constant(here)
            given = step.operation.transpose(here)
        else:
            if tuning.seen is not None:
                tuning.seen[number] = here.detach()
            relaxation = bounds.relaxation(graph, number)
            pulled, constant = relaxation.pull(here, rows, tuning.slopes.get(number))
            given, total = [pulled], total + constant
        for source, coefficients in zip(step.sources, given, strict=True):
            before = waiting.get(source)
            waiting[source] = coefficients if before is None else before + coefficients
    image = waiting.get(0)
    if image is None:
        image = total.new_zeros((len(total), *graph.steps[0].shape))
    total = total - _lost(image, bounds.errors[0], rows)
    return total + region.least(image, rows), image


def _lost(a: Tensor, error: Tensor, rows: Tensor) -> Tensor:
    """By how much rounding in a step lowers the bound of each row."""
    return weigh(a.abs(), error if len(error) == 1 else error[rows])


def interval_lower_bound(
    graph: Graph, bounds: StepBounds, region: Region, at: int, rows: Tensor, a: Tensor
) -> Tensor:
    """Bound a . z by intervals alone, the affine steps before it taken together.

    That is interval bound propagation with the last layer merged into the specification
    (Gowal et al., 2018, section 3, 'elision').
    """
    waiting, total = {at: a}, a.new_zeros(len(a))
    for number in range(at, -1, -1):
        here = waiting.pop(number, None)
        if here is None:
            continue
        step = graph.steps[number]
        if step.operation is None:
            total = total - _lost(here, bounds.errors[0], rows) + region.least(here, rows)
            continue
        if not isinstance(step.operation, Affine):
            given = bounds.intervals[number].rows(rows)
            reach = weigh(here.abs(), given.size())
            total = total + torch.where(here > 0, here * given.low, here * given.high).flatten(
                1
            ).sum(1)
            total = total - (here[0].numel() + 64) * 2.0**-52 * reach
            continue
        total = total - _lost(here, bounds.errors[number], rows) + step.operation.constant(here)
        for source, coefficients in zip(step.sources, step.operation.transpose(here), strict=True):
            before = waiting.get(source)
            waiting[source] = coefficients if before is None else before + coefficients
    return total


def chunk(graph: Graph, like: Tensor, numbers: int | None = None) -> int:
    """Rows in one chunk: as many as fit the cache of a processor, or the memory of a GPU.

    Args:
        graph: The network.
        like: A tensor on the device.
        numbers: Coefficients of a row in its widest step; by default those of whole rows.
    """
    memory = _CACHE if like.device.type == "cpu" else _MEMORY
    return max(1, min(_CHUNK, memory // (8 * _COPIES * (numbers or graph.width))))
