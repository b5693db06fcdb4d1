"""Methods that bound margins, in ascending order of cost; each keeps the better bound."""

from __future__ import annotations

import torch

from tempering.certification import alpha_crown as tuning
from tempering.certification import crown
from tempering.certification.alpha_crown import AlphaCrown, initial_parameters, optimized_bounds
from tempering.certification.hidden_intervals import crown_intervals
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
    interval(case)
    _linear(case, case.bounds)


def alpha_crown(case: MarginBatch, settings: AlphaCrown) -> None:
    """Linear bounds of margins with the best lower slopes that are found for each.

    Xu et al. (2021); slopes for the bounds of hidden neurons stay those of CROWN.
    """
    bounds = _bounds(case)
    for part in torch.split(case.open(), tuning.chunk(case.graph)):
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
