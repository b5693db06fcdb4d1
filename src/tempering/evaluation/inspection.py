"""All checks of one evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tempering.core.records import Flag, Measurement, MinimumNorm
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.flags.attack_comparisons import (
    check_black_box,
    check_gray_box,
    check_single_step,
    check_stale,
    check_transfer,
    check_true_gradient,
)
from tempering.evaluation.flags.gradient_quality import check_masking_stage, check_zero_gradients
from tempering.evaluation.flags.impossible_results import (
    check_above_chance,
    check_minimum_norm,
    check_rise,
    check_sample_size,
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
        check_gray_box(white + true, gray),
        check_stale(white + true, evaluation.attacks("stale")),
        check_single_step(white),
        check_true_gradient(white, true),
        check_black_box(white + true),
        check_transfer(white + true),
        check_zero_gradients(without_gradient(context, evaluation.target), worst.per_sample),
        check_rise([*evaluation.measurements, *others]),
        check_above_chance(sweep, *_grey(context, evaluation)) if sweep else None,
        check_sample_size(worst.measurement.attack, worst.measurement.robust),
    ]
    for result in true:
        same = evaluation.find(result.measurement.attack)
        flags += [check_masking_stage(same, result)] if same else []
    flags += [check_minimum_norm(result) for result in distances]
    names = context.data.ids.names
    return [
        flag.model_copy(update={"samples": [names[int(row)] for row in flag.samples]})
        for flag in flags
        if flag is not None
    ]


def reaches_grey(context: EvalContext, threat: Threat) -> float:
    """How far images are from plain grey at most, in a built-in norm; no others reach it surely."""
    x = context.data.x
    if not threat.built_in:
        return torch.inf
    ball = unbounded(threat.name, x.shape[1:])
    return max(
        float(ball.distance(part, torch.full_like(part, 0.5)).max()) for part in torch.split(x, 512)
    )


def _grey(context: EvalContext, evaluation: EvaluationResult) -> tuple[float, float]:
    """How far images are from plain grey at most, and the share of the largest class."""
    y = context.data.y
    return reaches_grey(context, evaluation.threat), float(y.bincount().max()) / len(y)
