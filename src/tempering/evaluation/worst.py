"""Worst-case accuracy per sample over several measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.core.records import Access, Cost
from tempering.core.threat_words import exact
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult, by_part
from tempering.evaluation.results import AttackResult, ProtocolName, record
from tempering.evaluation.target import Target


def worst_of(per_samples: Sequence[PerSampleResult]) -> PerSampleResult:
    """Keep, for each sample, the run that is worst for the defender.

    The image, prediction and distance are those of the first run of the highest
    severity. A sample is stable only if no run changed it, the drop is the largest
    one, and passes add up.

    Args:
        per_samples: At least one, all over the same samples.

    Returns:
        Their worst case; a part that one of them lacks is None.

    Raises:
        ValueError: If there is no outcome.
    """
    if not per_samples:
        raise ValueError("the worst of no outcomes: give at least one")
    highest = torch.stack([per_sample.severity for per_sample in per_samples]).max(0).values
    run = (
        torch.stack([per_sample.severity == highest for per_sample in per_samples]).long().argmax(0)
    )

    def chosen(values: list[Tensor]) -> Tensor:
        kept = values[0].clone()
        for number, value in enumerate(values[1:], 1):
            rows = run == number
            kept[rows] = value[rows]
        return kept

    return replace(
        by_part(chosen, *per_samples),
        stable=torch.stack([per_sample.stable for per_sample in per_samples]).all(0),
        drop=torch.stack([per_sample.drop for per_sample in per_samples]).amax(0),
        forwards=torch.stack([per_sample.forwards for per_sample in per_samples]).sum(0),
        backwards=torch.stack([per_sample.backwards for per_sample in per_samples]).sum(0),
    )


def worst_case(
    context: EvalContext,
    target: Target,
    threat: Threat,
    results: Sequence[AttackResult],
    *,
    access: Access = "white",
    protocol: ProtocolName = "standard",
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
        if exact(measurement.threat) != exact(str(threat)):
            raise UsageError(
                f"{measurement.attack} was measured under {measurement.threat}: "
                f"give trials under {threat}"
            )
    return record(
        context,
        target,
        worst_of([result.per_sample for result in results]),
        attack="worst",
        config={"over": [_name(result) for result in results]},
        threat=threat,
        protocol=protocol,
        access=access,
        cost=Cost.total(result.measurement.cost for result in results),
    )


def _name(result: AttackResult) -> str:
    measurement = result.measurement
    true = ", true gradient" if measurement.backward == "true" else ""
    return f"{measurement.attack} ({measurement.access}{true})"
