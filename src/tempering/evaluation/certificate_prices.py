"""What attacks would cost, and so what certificates may cost."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from tempering.core.probe import probing
from tempering.core.work_clock import work_seconds
from tempering.evaluation.certification_survey import CertificationBudget
from tempering.evaluation.run import EvaluationRun

IN_ANY_CASE = 3.0
"""Seconds that certificates may take whatever they save."""
SHARE = 0.25
"""Share of the time of all attacks that they may take besides, whatever they save."""
TIMED_SHARE = 0.1
"""Share of a time limit that is spent in any case, at most."""


def attack_seconds(run: EvaluationRun) -> float:
    """Seconds of work that attacks take on a sample that none of them breaks, estimated.

    Each unit of the effort of all stages on undecided samples counts as a forward pass: it often
    takes a backward pass as well, but few samples meet every part of an attack.
    """
    stages = run.config.protocol.on_undecided().values()
    effort = sum(stage.attack.effort() for stages_of in stages for stage in stages_of)
    engine = run.context.engine
    return effort * engine.broadcast(forward_seconds(run) if engine.is_main else 0.0)


def forward_seconds(run: EvaluationRun) -> float:
    """Seconds of work that a forward pass of one sample takes, the less of two tries."""
    context, device = run.context, run.context.engine.device
    count = min(context.batch_size, context.n)
    rows = torch.arange(count)
    x, tries = context.data.images(rows).to(device), list[float]()
    with probing(run.target.model) as probe, torch.no_grad():
        for _ in range(2):
            began = work_seconds(device)
            float(probe.logits(x, rows.to(device)).sum())
            tries.append(work_seconds(device) - began)
    return min(tries) / count


def certification_budget(run: EvaluationRun) -> CertificationBudget:
    """What certificates before the attacks may cost, equal in every process."""
    right, saved = int(run.clean.per_sample.robust.sum()), attack_seconds(run)
    return _in_time(run, saved, IN_ANY_CASE + SHARE * saved * right)


def curve_budget(run: EvaluationRun, spent: float) -> CertificationBudget:
    """What certificates along a whole curve may cost, equal in every process.

    They save no attack, so they take no more than those at the threat's own eps.

    Args:
        run: The evaluation.
        spent: Seconds that certificates at the threat's own eps took.
    """
    return replace(_in_time(run, 0.0, max(IN_ANY_CASE, spent)), attacks=False)


def _in_time(run: EvaluationRun, saved: float, seconds: float) -> CertificationBudget:
    left = run.deadline.left
    if math.isinf(left):
        budget = CertificationBudget(saved, seconds)
    else:
        budget = CertificationBudget(saved, min(seconds, TIMED_SHARE * left), left / 2)
    return run.context.engine.broadcast(budget)
