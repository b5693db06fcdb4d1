"""One system of the benchmark: trained, then judged by two attackers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tempering.app.judge_detector import detector_figures
from tempering.attacks.base import Attack
from tempering.core.measurement_records import Access
from tempering.core.record import Count
from tempering.core.system_records import SystemRow
from tempering.core.user_code import moved
from tempering.evaluation.config import EvaluationConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.evaluator import Evaluator
from tempering.evaluation.protocols import each, fast
from tempering.evaluation.target import Target
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System

OBLIVIOUS: Access = "gray-before"
"""Access of an attacker who knows the model before the defense."""
TIMED_IMAGES, TIMES, MOST_TIMES, LONGEST = 64, 7, 100, 2.0
"""Images of a timed prediction, and how often it is timed: at least, at most, and for how long."""


def judge(
    system: System, setting: Setting, context: EvalContext, attacks: Sequence[Attack]
) -> SystemRow:
    """Train a system, and count what two attackers leave.

    The oblivious attacker runs `attacks` on the exposed network, and the images are shown to the
    deployed model. The adaptive one runs `attacks` and the protocol `fast` on the deployed model,
    and keeps what the oblivious one found, so it never leaves more samples. Further attacks of
    the system are counted apart.

    Args:
        system: The system.
        setting: Data, threat, seed and budget.
        context: Test samples.
        attacks: At least one.
    """
    _ = setting.undefended  # trained once, and timed apart
    began = time.perf_counter()
    fitted = system.fit(setting)
    seconds = time.perf_counter() - began
    if system.builds_on_undefended:
        seconds += setting.undefended_seconds
    began = time.perf_counter()
    result = _evaluated(fitted, setting, context, attacks)
    further = system.further(fitted, setting, setting.data.test)
    flag = result.target.flag
    oblivious = {entry.measurement.attack: entry.per_sample for entry in result.attacks(OBLIVIOUS)}
    left = [_left(entry.robust, entry.detected) for entry in oblivious.values()]
    strict = [entry.robust for entry in oblivious.values()]
    worst = result.get("worst", "any").per_sample
    flagged = result.get("clean").per_sample.flagged
    device = setting.engine.device
    evaluation_seconds = time.perf_counter() - began
    shown = result.get("worst").per_sample.x_adv
    detector = detector_figures(fitted.watched, setting, context, shown)
    return SystemRow(
        **about(system),
        threat=str(setting.threat),
        n=len(result.clean),
        clean=_count(result.clean),
        abstained=None if flag is None or flagged is None else _count(flagged),
        oblivious=_count(torch.stack(left).all(0)),
        oblivious_strict=None if flag is None else _count(torch.stack(strict).all(0)),
        by_attack={name: _count(one) for name, one in zip(oblivious, left, strict=True)},
        adaptive=_count(_left(worst.robust, worst.detected)),
        adaptive_strict=None if flag is None else _count(worst.robust),
        certified=_count(result.certified),
        overhead=overhead(fitted, _some_images(context).to(device)),
        seconds=round(seconds, 3),
        evaluation_seconds=round(evaluation_seconds, 3),
        parameters=sum(parameter.numel() for parameter in fitted.model.parameters()),
        shortened=[*fitted.shortened, *(fitted.watched.shortened if fitted.watched else ())],
        flags=[flag.name for flag in result.flags],
        further=further,
        details=fitted.details,
        detector=detector,
    )


def about(system: System) -> dict[str, Any]:
    """What a row says of a system before it is trained."""
    names = ("title", "source", "claimed", "claim", "how", "gaps", "weakness")
    return {"system": system.name, **{name: getattr(system, name) for name in names}}


def _evaluated(
    fitted: Fitted, setting: Setting, context: EvalContext, attacks: Sequence[Attack]
) -> EvaluationResult:
    protocol = each([*attacks], (OBLIVIOUS,)).then(each([*attacks, *fitted.attacks]))
    protocol = protocol.then(fast(setting.threat))
    exposed = moved(fitted.exposed, setting.engine.device)
    config = EvaluationConfig(setting.threat, protocol, sources={OBLIVIOUS: exposed}, curve=None)
    model = moved(fitted.model, setting.engine.device)
    return Evaluator(context, config).evaluate(Target.of("given", model, context.data))


def _left(robust: Tensor, detected: Tensor | None) -> Tensor:
    return robust if detected is None else detected


def _count(hits: Tensor) -> Count:
    return Count(hits=int(hits.sum()), n=len(hits))


def overhead(fitted: Fitted, x: Tensor) -> float | None:
    """Least time of a prediction of the deployed model over that of the bare one, less 1.

    Other work on the machine only adds to a time, so the least one of many is the least noisy.
    """
    if fitted.model is fitted.bare:
        return 0.0
    models: tuple[nn.Module, ...] = (fitted.bare, fitted.model)
    for model in models:
        seconds_of(model, x)  # the first call of a model takes longer
    least = [math.inf, math.inf]
    began, rounds = time.perf_counter(), 0
    while rounds < TIMES or (rounds < MOST_TIMES and time.perf_counter() - began < LONGEST):
        taken = [seconds_of(model, x) for model in models]
        least = [min(pair) for pair in zip(least, taken, strict=True)]
        rounds += 1
    return least[1] / least[0] - 1


@torch.no_grad()
def seconds_of(model: nn.Module, x: Tensor) -> float:
    """How long one prediction takes."""
    began = time.perf_counter()
    model(x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter() - began


def _some_images(context: EvalContext) -> Tensor:
    return context.data.images(torch.arange(min(TIMED_IMAGES, len(context.data))))
