"""Accuracy against eps: nearest adversarial images, and attacks at each eps on what is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tempering.attacks.base import Attack
from tempering.core.errors import NoGradientError, UsageError
from tempering.core.records import Cost
from tempering.core.threat_checks import check_rescaling
from tempering.core.threats import Threat
from tempering.evaluation.box_stage import box_stage
from tempering.evaluation.config import CurveConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.inspection import reaches_grey
from tempering.evaluation.measuring import measure
from tempering.evaluation.minimum_norm import Distances, distances, unbounded
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.protocols import nearest
from tempering.evaluation.results import AttackResult, record
from tempering.evaluation.run import EvaluationRun
from tempering.evaluation.target import Target
from tempering.evaluation.worst import worst_of

SHOWN_SHARE = 2.0
"""Up to this multiple of the threat's eps a curve is recorded, unless larger ones are asked for."""


def curve_of(run: EvaluationRun, result: EvaluationResult) -> list[AttackResult]:
    """The curve of an evaluation, on its first samples; nothing where none is asked for.

    Args:
        run: Data, target and configuration; with a time limit there is no curve.
        result: What the attacks found; what they broke stays broken from the threat's eps on.

    Raises:
        ThreatError: If the threat cannot be made with another eps.
    """
    config, threat = run.config.curve, run.threat
    if config is None or run.config.seconds is not None:
        return []
    search = nearest(threat)
    if search is None and not config.attacks:
        return []
    few = min(config.samples, run.context.n)
    context = replace(run.context, data=run.context.data.first(few))
    known = result.get("worst", "any").per_sample.at(torch.arange(few))
    grid = eps_grid(context, threat, config)
    check_rescaling(threat, grid)
    try:
        return accuracy_curve(
            context,
            run.target,
            threat,
            grid,
            nearest=search,
            attacks=_with_box(run, config.attacks),
            known=known,
        )
    except NoGradientError:
        return []


def _with_box(run: EvaluationRun, attacks: Sequence[Attack]) -> tuple[Attack, ...]:
    """Given attacks, and a box search where gradients would pass straight through steps."""
    search = box_stage(run)
    return tuple(attacks) if search is None else (*attacks, search)


def _widest(context: EvalContext, threat: Threat) -> Threat:
    """The threat with the eps at which its norm allows every image in the box."""
    return threat.with_eps(unbounded(threat.norm, context.data.x.shape[1:]).eps)


def eps_grid(context: EvalContext, threat: Threat, config: CurveConfig) -> list[float]:
    """Values of eps, rising, none larger than the norm allows; the threat's own is exact.

    In L0 they are whole numbers.
    """
    limit = 1.0 if threat.norm == "linf" else float("inf")
    grid = {min(limit, threat.eps * share) for share in config.shares}
    if threat.norm == "l0":
        grid = {threat.eps if eps == threat.eps else float(math.floor(eps)) for eps in grid}
    grey = reaches_grey(context, threat) if config.up_to_grey else torch.inf
    return sorted(grid | ({grey} if math.isfinite(grey) else set()))


def shown_part(
    curve: Sequence[AttackResult], threat: Threat, config: CurveConfig | None
) -> list[AttackResult]:
    """The curve without what only checks look at: up to twice the threat's eps, or as asked for.

    Args:
        curve: Results at several eps, smallest first.
        threat: The threat of the evaluation.
        config: Which multiples of its eps were asked for.
    """
    most = max([SHOWN_SHARE, *(config.shares if config else ())])
    return [one for one in curve if one.measurement.eps <= most * threat.eps * (1 + 1e-9)]


def accuracy_curve(
    context: EvalContext,
    target: Target,
    threat: Threat,
    grid: Sequence[float],
    *,
    nearest: Attack | None = None,
    attacks: Sequence[Attack] = (),
    known: PerSampleResult | None = None,
) -> list[AttackResult]:
    """Measure worst-case accuracy at every eps of a grid.

    A sample that is broken at one eps is broken at every larger one, so an accuracy of the
    curve is never above one at a smaller eps. A minimum-norm attack answers for all eps at
    once; other attacks run at each eps on the samples that are still robust there.

    Args:
        context: Data, engine and seed.
        target: The model under attack; its adversarial class is one wrong class more.
        threat: Its norm is used.
        grid: Values of eps, at least 0, in any order.
        nearest: A minimum-norm attack; None for none.
        attacks: Run one after the other.
        known: What is known of each sample at the threat's eps; what is broken there stays
            broken from that eps on.

    Returns:
        One result an eps, smallest first, with protocol `curve` and the attack `worst`, or the
        attack's own label if there is only one. The first bears the cost of the minimum-norm
        attack. That at the threat's own eps has the images that were found here.

    Raises:
        UsageError: If there is no attack or no eps, or the minimum-norm attack is none.
        AttackError: If a proposal breaks the rules.

    Example:
        `accuracy_curve(context, target, Linf(0.3), [0.0, 0.1, 0.3], nearest=FMN())`
    """
    every = [*([nearest] if nearest else []), *attacks]
    if not every or not len(grid):
        raise UsageError(
            f"a curve of {len(every)} attacks over {len(grid)} eps: give at least one of each"
        )
    label = every[0].label() if len(every) == 1 else "worst"
    config = every[0].config() if len(every) == 1 else {"over": [one.label() for one in every]}
    target = target.without_flag()
    found, clean, cost = _start(context, target, threat, nearest)
    sofar = replace(clean.per_sample, stable=clean.per_sample.robust)
    points: list[AttackResult] = []
    for eps in sorted(set(grid)):
        images = context.data.x.clone() if eps == threat.eps else None
        if found is not None:
            within = found.per_sample(eps)
            _keep_images(images, within, torch.arange(context.n))
            sofar = worst_of([sofar, replace(within, x_adv=None)])
        if known is not None and eps >= threat.eps:
            sofar = worst_of([sofar, replace(known, x_adv=None, detected=None, flagged=None)])
        for attack in attacks if eps > 0 else ():
            rows = sofar.robust.nonzero()[:, 0]
            if not len(rows):
                break
            allowed = threat.with_eps(eps)
            result = measure(context, target, attack, allowed, protocol="curve", rows=rows)
            new = result.per_sample.at(rows)
            _keep_images(images, new, rows)
            sofar = sofar.put(rows, worst_of([sofar.at(rows), replace(new, x_adv=None)]))
            cost = cost + result.measurement.cost
        points.append(
            record(
                context,
                target,
                replace(sofar, x_adv=images),
                attack=label,
                config=config,
                threat=threat.with_eps(eps),
                protocol="curve",
                access="white",
                cost=cost,
            )
        )
        cost = Cost()
    return points


def _keep_images(images: Tensor | None, result: PerSampleResult, rows: Tensor) -> None:
    """Keep the images of broken samples; `rows` says which samples the result is about."""
    if images is not None and result.x_adv is not None:
        broken = (~result.robust).nonzero()[:, 0]
        images[rows[broken]] = result.x_adv[broken].to(images.dtype)


def _start(
    context: EvalContext, target: Target, threat: Threat, nearest: Attack | None
) -> tuple[Distances | None, AttackResult, Cost]:
    """Distances if there is an attack for them, the target without attack, and the cost."""
    if nearest is None:
        return None, measure(context, target, None, threat, protocol="curve"), Cost()
    found = distances(context, target, nearest, _widest(context, threat))
    cost = found.clean.measurement.cost + found.attacked.measurement.cost
    return found, found.clean, cost
