"""Examining a model before it is attacked: does anything mislead attacks?"""

from __future__ import annotations

import contextlib
import json
from functools import partial

from tempering.attacks.pgd import PGD
from tempering.core.errors import ModelError
from tempering.core.records import Flag
from tempering.evaluation.config import EvaluationConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.flags.examination import examine
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.flags.gradient_quality import check_gradients_available
from tempering.evaluation.flags.model_outputs import check_outputs_are_logits
from tempering.evaluation.result_cache import ResultCache
from tempering.evaluation.target import Target

GLANCED = 8
"""Samples whose gradients are looked at where time is short."""


def examine_target(
    context: EvalContext, target: Target, config: EvaluationConfig, cache: ResultCache
) -> list[Flag]:
    """Examine a model and its gradients on a few samples; little of that if time is short.

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
    if config.seconds is not None:
        return _glance(context, target, config)
    ascent = PGD(steps=40, until_fooled=False)
    attack = ascent if ascent.knows(config.threat) else None
    work = partial(examine, context, target, config.threat, attack, samples=config.examined)
    return cache.get("examination", work)


def _glance(context: EvalContext, target: Target, config: EvaluationConfig) -> list[Flag]:
    """What a few passes show: probabilities as outputs, and gradients of zero."""
    flags: list[Flag | None] = []
    if context.engine.is_main:
        part = ExaminedSamples.of(context, target, config.threat, config.examined)
        flags.append(check_outputs_are_logits(part))
        with contextlib.suppress(ModelError):  # clean predictions will raise it for all samples
            few = ExaminedSamples.of(context, target, config.threat, GLANCED).correct()
            flags.append(check_gradients_available(few) if len(few) else None)
    raised = [flag.model_dump(mode="json") for flag in flags if flag is not None]
    same = json.loads(context.engine.broadcast(json.dumps(raised)))
    return [Flag.model_validate(flag) for flag in same]
