"""Accuracy against eps: how a model falls as the attacker is allowed more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.records import Cost
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.results import AttackResult, record
from tempering.evaluation.target import Target
from tempering.evaluation.worst import worst_of


def sweep(
    context: EvalContext,
    target: Target,
    threat: Threat,
    attacks: Sequence[Attack],
    grid: Sequence[float],
    *,
    known: Mapping[float, PerSampleResult] | None = None,
) -> list[AttackResult]:
    """Measure worst-case accuracy at every eps of a grid, with few passes.

    A sample that is broken at one eps is broken at every larger one, so only samples
    that still stand are attacked, by one attack after the other. An accuracy of the
    curve is therefore never above one at a smaller eps.

    Args:
        context: Data, engine and seed.
        target: The model that judges; a flag is one wrong class more.
        threat: Its norm is used.
        attacks: At least one; each only gets what the ones before it left standing.
        grid: Values of eps, at least 0, in any order.
        known: eps -> outcome of the target that was measured there by other means;
            what it broke stays broken from that eps on.

    Returns:
        One trial an eps, smallest first, with protocol `curve` and the attack `worst`,
        or the attack's own label if there is only one. Misclassified samples are never
        attacked and count as unstable.

    Raises:
        UsageError: If there is no attack or no eps.

    Example:
        `sweep(context, target, Linf(0.3), [PGD()], [0.0, 0.1, 0.2, 0.3, 0.4])`
    """
    if not attacks or not len(grid):
        raise UsageError(
            f"a curve of {len(attacks)} attacks over {len(grid)} eps: give at least one of each"
        )
    label = attacks[0].label() if len(attacks) == 1 else "worst"
    config = {"over": [attack.label() for attack in attacks]} if len(attacks) > 1 else None
    target = target.without_flag()
    clean = measure(context, target, None, threat, protocol="curve").per_sample
    sofar = replace(clean, stable=clean.robust)
    waiting = sorted((known or {}).items(), key=lambda pair: pair[0])
    points = []
    for eps in sorted(set(grid)):
        while waiting and waiting[0][0] <= eps:
            sofar = worst_of([sofar, replace(waiting.pop(0)[1], x_adv=None)])
        allowed, costs = threat.with_eps(eps), []
        for attack in attacks if eps > 0 else ():
            standing = sofar.robust.nonzero()[:, 0]
            if not len(standing):
                break
            result = measure(context, target, attack, allowed, protocol="curve", rows=standing)
            new = replace(result.per_sample, x_adv=None).at(standing)
            sofar = sofar.put(standing, worst_of([sofar.at(standing), new]))
            costs.append(result.measurement.cost)
        point = record(
            context,
            target,
            sofar,
            attack=label,
            config=config or attacks[0].config(),
            threat=allowed,
            protocol="curve",
            access="white",
            cost=Cost(
                forward=sum(cost.forward for cost in costs),
                backward=sum(cost.backward for cost in costs),
                seconds=sum(cost.seconds for cost in costs),
            ),
        )
        points.append(point)
    return points
