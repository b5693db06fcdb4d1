"""Methods that bound margins, in ascending order of cost; each keeps the better bound."""

from __future__ import annotations

import time

import torch

from tempering.certification import alpha_crown as tuning
from tempering.certification import crown
from tempering.certification.alpha_crown import AlphaCrown, initial_parameters, optimized_bounds
from tempering.certification.hidden_intervals import alpha_intervals, crown_intervals
from tempering.certification.interval import StepBounds, propagate
from tempering.certification.margins import MarginBatch


def interval(case: MarginBatch) -> None:
    """Interval bounds, with the last layers merged into the margins; about three forward passes."""
    bounds = _bounds(case)
    margins = case.open()
    for part in torch.split(margins, crown.chunk(case.graph, case.best)):
        a = case.coefficients(part)
        last = len(case.graph.steps) - 1
        bound = crown.interval_lower_bound(
            case.graph, bounds, case.region, last, case.rows[part], a
        )
        case.improve(part, bound)


def crown_ibp(case: MarginBatch) -> None:
    """Linear bounds of margins between interval bounds: a backward pass a margin.

    Zhang et al. (2020), section 3.
    """
    _linear(case, _bounds(case))


def full_crown(case: MarginBatch, until: float) -> None:
    """Linear bounds of margins and of hidden neurons (Zhang et al., 2018).

    Two backward passes for each neuron that intervals leave open, and one a margin. At the
    time `until` of the monotonic clock, neurons that are left keep their intervals.
    """
    case.bounds = crown_intervals(case.graph, case.region, _bounds(case), until)
    case.sharp = True
    interval(case)
    _linear(case, case.bounds)


def alpha_crown(case: MarginBatch, settings: AlphaCrown, until: float) -> None:
    """Linear bounds with the best lower slopes that are found for each (Xu et al., 2021).

    First CROWN, unless it ran before; then slopes of the margins alone; then, for samples that
    are open still, slopes of hidden bounds, and those of the margins once more.
    """
    if not case.sharp:
        full_crown(case, until)
    _optimized(case, settings, until)
    left = (case.margin() <= 0).nonzero()[:, 0]
    if settings.hidden_steps == 0 or not len(left) or time.monotonic() > until:
        return
    part = case.part(left)
    part.bounds = alpha_intervals(part.graph, part.region, _bounds(part), settings, until)
    interval(part)
    _linear(part, part.bounds)
    _optimized(part, settings, until)
    case.take(left, part)


def _optimized(case: MarginBatch, settings: AlphaCrown, until: float) -> None:
    bounds = _bounds(case)
    for part in torch.split(case.open(), tuning.chunk(case.graph, case.best)):
        if time.monotonic() > until:
            break
        rows = case.rows[part]
        choice = initial_parameters(case.graph, bounds, rows)
        a = case.coefficients(part)
        bound, _ = optimized_bounds(case.graph, bounds, case.region, rows, a, choice, settings)
        case.improve(part, bound)


def _bounds(case: MarginBatch) -> StepBounds:
    if case.bounds is None:
        case.bounds = propagate(case.graph, case.region)
    return case.bounds


def _linear(case: MarginBatch, bounds: StepBounds) -> None:
    last = len(case.graph.steps) - 1
    for part in torch.split(case.open(), crown.chunk(case.graph, case.best)):
        a = case.coefficients(part)
        bound, _ = crown.crown_lower_bound(
            case.graph, bounds, case.region, last, case.rows[part], a
        )
        case.improve(part, bound)
