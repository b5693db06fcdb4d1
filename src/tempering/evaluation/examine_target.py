"""Examining a model before it is attacked: does anything mislead attacks?"""

from __future__ import annotations

import contextlib
import time
from functools import partial

from tempering.attacks.base import Attack
from tempering.attacks.pgd import PGD
from tempering.core.deadline import Deadline
from tempering.core.errors import ModelError
from tempering.core.records import Flag
from tempering.evaluation.config import EvaluationConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.flags.examination import examine
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.result_cache import ResultCache
from tempering.evaluation.target import Target

FEWEST = 8
"""Samples that are examined however short the time is."""
SHARE = 0.1
"""Of the time that an evaluation has, what cheap checks may take, and attack runs as much again."""
MOST = 0.5
"""Of that time, what all checks may take on a model so slow that few samples take longer."""
PASSES = 45
"""Passes of a sample in cheap checks."""


def examine_target(
    context: EvalContext, target: Target, config: EvaluationConfig, cache: ResultCache
) -> list[Flag]:
    """Examine a model and its gradients on a few samples, and the attack if there is time.

    Args:
        context: Data, engine and seed.
        target: The model.
        config: Threat, number of samples, time limit.
        cache: Stores the flags.

    Returns:
        The flags that are raised, equal in every process.
    """
    if config.examined == 0:
        return []
    ascent = PGD(steps=40, until_fooled=False)
    attack = ascent if ascent.knows(config.threat) else None
    if config.seconds is not None:
        return _examine_in_time(context, target, config, attack, config.seconds)
    work = partial(examine, context, target, config.threat, attack, samples=config.examined)
    return cache.get("examination", work)


def _examine_in_time(
    context: EvalContext,
    target: Target,
    config: EvaluationConfig,
    attack: Attack | None,
    seconds: float,
) -> list[Flag]:
    """Examine as many samples as there is time for; the result depends on the clock."""
    samples = _affordable(context, target, config, SHARE * seconds)
    deadline = Deadline.after(2 * SHARE * seconds)
    with Deadline.after(MOST * seconds).enforced_here():
        return examine(context, target, config.threat, attack, samples=samples, deadline=deadline)


def _affordable(
    context: EvalContext, target: Target, config: EvaluationConfig, seconds: float
) -> int:
    """Samples that cheap checks can examine in some time; the first few tell what a pass takes."""
    few = ExaminedSamples.of(context, target, config.threat, FEWEST)
    began = time.perf_counter()
    with contextlib.suppress(ModelError):  # clean predictions will raise it for all samples
        few.logits(few.x)
    passes = seconds * len(few) / (time.perf_counter() - began)
    samples = min(config.examined, max(FEWEST, int(passes / PASSES)))
    return int(context.engine.broadcast(samples))
