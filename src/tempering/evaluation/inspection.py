"""All checks of one evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tempering.core.records import Flag, Measurement, MinimumNorm
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.flags.distances import search_failed
from tempering.evaluation.flags.growth import does_not_fall, rises_with_eps
from tempering.evaluation.flags.hidden import gradient_gap, zero_gradients
from tempering.evaluation.flags.sizes import too_few_samples
from tempering.evaluation.flags.winners import (
    black_beats_white,
    gray_beats_white,
    one_step_beats_many,
    stale_beats_white,
    transfer_beats_white,
    true_beats_adaptive,
)
from tempering.evaluation.gradients import without_gradient
from tempering.evaluation.minimum_norm import unbounded


def inspect(
    context: EvalContext,
    evaluation: EvaluationResult,
    *,
    sweep: Sequence[Measurement] = (),
    others: Sequence[Measurement] = (),
    distances: Sequence[MinimumNorm] = (),
) -> list[Flag]:
    """Look for everything that makes the numbers of an evaluation untrustworthy.

    Args:
        context: Data and engine.
        evaluation: What the model went through.
        sweep: Its curve.
        others: Measurements of the same or other models at other eps.
        distances: What minimum-norm attacks found.

    Returns:
        The flags that are raised; none is good news.

    Example:
        `inspect(context, Evaluator(context, config).evaluate(target))`
    """
    white = evaluation.attacks("white")
    true = evaluation.attacks("white", "true")
    gray = evaluation.attacks("gray-surrogate") + evaluation.attacks("gray-before")
    worst = evaluation.get("worst", "any")
    flags = [
        gray_beats_white(white + true, gray),
        stale_beats_white(white + true, evaluation.attacks("stale")),
        one_step_beats_many(white),
        true_beats_adaptive(white, true),
        black_beats_white(white + true),
        transfer_beats_white(white + true),
        zero_gradients(without_gradient(context, evaluation.target), worst.per_sample),
        rises_with_eps([*evaluation.measurements, *others]),
        does_not_fall(sweep, *_grey(context, evaluation)) if sweep else None,
        too_few_samples(worst.measurement.attack, worst.measurement.robust),
    ]
    for result in true:
        same = evaluation.find(result.measurement.attack)
        flags += [gradient_gap(same, result)] if same else []
    flags += [search_failed(one) for one in distances]
    names = context.data.ids.names
    return [
        flag.model_copy(update={"samples": [names[int(row)] for row in flag.samples]})
        for flag in flags
        if flag is not None
    ]


def reaches_grey(context: EvalContext, threat: Threat) -> float:
    """How far images are from plain grey at most, in the threat's norm."""
    x = context.data.x
    ball = unbounded(threat.name, x.shape[1:])
    return max(
        float(ball.distance(part, torch.full_like(part, 0.5)).max()) for part in torch.split(x, 512)
    )


def _grey(context: EvalContext, evaluation: EvaluationResult) -> tuple[float, float]:
    """How far images are from plain grey at most, and the share of the largest class."""
    y = context.data.y
    return reaches_grey(context, evaluation.threat), float(y.bincount().max()) / len(y)
