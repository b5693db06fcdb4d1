"""Worst-case accuracy per sample over several measurements."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.errors import UsageError
from tempering.core.records import Access, Cost
from tempering.core.threats import Threat
from tempering.evaluation.combining import worst_of
from tempering.evaluation.context import EvalContext
from tempering.evaluation.recording import AttackResult, Protocol, record
from tempering.evaluation.target import Target


def worst_case(
    context: EvalContext,
    target: Target,
    threat: Threat,
    results: Sequence[AttackResult],
    *,
    access: Access = "white",
    protocol: Protocol = "standard",
) -> AttackResult:
    """The worst case per sample over trials: what a model can be said to withstand at most.

    Args:
        context: Data and seed.
        target: The model that was attacked.
        threat: What was allowed, the same in every trial.
        results: At least one trial of the target.
        access: `white` over white-box attacks, `any` over everything that was tried.
        protocol: For the record.

    Returns:
        A record with the attack `worst`, whose cost is that of all trials.

    Raises:
        UsageError: If there is no trial, or one is of another model, data or threat.
    """
    if not results:
        raise UsageError("the worst case over no attack: give at least one trial")
    whose = (target.weights, context.data.content_hash)
    for measurement, _ in results:
        if (measurement.weights, measurement.data_hash) != whose:
            raise UsageError(
                f"{measurement.attack} was measured on weights {measurement.weights} and data "
                f"{measurement.data_hash}: give trials of {whose[0]} on {whose[1]}"
            )
        if measurement.threat not in (str(threat), str(threat.with_eps(0.0))):
            raise UsageError(
                f"{measurement.attack} was measured under {measurement.threat}: "
                f"give trials under {threat}"
            )
    costs = [result.measurement.cost for result in results]
    return record(
        context,
        target,
        worst_of([result.per_sample for result in results]),
        attack="worst",
        config={"over": [_name(result) for result in results]},
        threat=threat,
        protocol=protocol,
        access=access,
        cost=Cost(
            forward=sum(cost.forward for cost in costs),
            backward=sum(cost.backward for cost in costs),
            seconds=sum(cost.seconds for cost in costs),
        ),
    )


def _name(result: AttackResult) -> str:
    measurement = result.measurement
    true = ", true gradient" if measurement.backward == "true" else ""
    return f"{measurement.attack} ({measurement.access}{true})"
