"""All checks of one evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tempering.core.records import Flag, Measurement, MinimumNorm
from tempering.evaluation import sanity
from tempering.evaluation.gradients import without_gradient
from tempering.evaluation.minimum_norm import unbounded
from tempering.evaluation.setting import Setting
from tempering.evaluation.standard import Evaluation


def inspect(
    setting: Setting,
    evaluation: Evaluation,
    *,
    sweep: Sequence[Measurement] = (),
    others: Sequence[Measurement] = (),
    distances: Sequence[MinimumNorm] = (),
) -> list[Flag]:
    """Look for everything that makes the numbers of an evaluation untrustworthy.

    Args:
        setting: Data and engine.
        evaluation: What the model went through.
        sweep: Its curve.
        others: Measurements of the same or other models at other eps.
        distances: What minimum-norm attacks found.

    Returns:
        The flags that are raised; none is good news.

    Example:
        `inspect(setting, run_standard(setting, target, threat, attacks))`
    """
    white = evaluation.attacks("white")
    true = evaluation.attacks("white", "true")
    gray = evaluation.attacks("gray-surrogate") + evaluation.attacks("gray-before")
    worst = evaluation.get("worst", "any")
    flags = [
        sanity.gray_beats_white(white + true, gray),
        sanity.stale_beats_white(white + true, evaluation.attacks("stale")),
        sanity.one_step_beats_many(white),
        sanity.true_beats_adaptive(white, true),
        sanity.zero_gradients(without_gradient(setting, evaluation.target), worst.outcome),
        sanity.rises_with_eps([*evaluation.measurements, *others]),
        sanity.does_not_fall(sweep, *_grey(setting, evaluation)),
        sanity.too_few_samples(worst.measurement),
    ]
    for trial in true:
        same = evaluation.find(trial.measurement.attack)
        flags += [sanity.gradient_gap(same, trial)] if same else []
    flags += [sanity.search_failed(one) for one in distances]
    return [flag for flag in flags if flag is not None]


def _grey(setting: Setting, evaluation: Evaluation) -> tuple[float, float]:
    """How far images are from plain grey at most, and the share of the largest class."""
    x, y = setting.data.x, setting.data.y
    ball = unbounded(evaluation.threat.name, x.shape[1:])
    far = max(
        float(ball.distance(part, torch.full_like(part, 0.5)).max()) for part in torch.split(x, 512)
    )
    return far, float(y.bincount().max()) / len(y)
