"""Accuracy against eps from distances: one search a sample gives the whole curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tempering.attacks.base import Attack
from tempering.core.records import Cost
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.minimum_norm import distances
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.results import AttackResult, record
from tempering.evaluation.target import Target
from tempering.evaluation.worst import worst_of


def distance_curve(
    context: EvalContext,
    target: Target,
    threat: Threat,
    attack: Attack,
    grid: Sequence[float],
    known: PerSampleResult,
) -> list[AttackResult]:
    """Find each sample's nearest adversarial once, and count what stands at each eps.

    Args:
        context: Data, engine and seed.
        target: The model that judges; a flag is one wrong class more.
        threat: Its norm is used; from its eps on, what is known counts too.
        attack: Looks for the nearest image.
        grid: Values of eps, at least 0, in any order.
        known: What became of the samples at the threat's eps by other means.

    Returns:
        One trial a value of eps, smallest first; the first bears the cost. Accuracy never
        rises.

    Raises:
        UsageError: If the attack does not look for the nearest image.
        AttackError: If a proposal breaks the rules.
    """
    found = distances(context, target, attack, threat.name)
    clean, attacked = (part.measurement.cost for part in (found.clean, found.attacked))
    cost = Cost(
        forward=clean.forward + attacked.forward,
        backward=clean.backward + attacked.backward,
        seconds=clean.seconds + attacked.seconds,
    )
    plain = replace(known, x_adv=None, detected=None, flagged=None)
    points: list[AttackResult] = []
    for eps in sorted(set(grid)):
        here = replace(found.per_sample(eps), x_adv=None)
        if eps >= threat.eps:
            here = worst_of([here, plain])
        points.append(
            record(
                context,
                target.without_flag(),
                here,
                attack=attack.label(),
                config=attack.config(),
                threat=threat.with_eps(eps),
                protocol="curve",
                access="white",
                cost=cost if not points else None,
            )
        )
    return points
