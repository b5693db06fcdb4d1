"""From outcomes to records: counts over all samples, and everything that made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor

from tempering.core.records import Access, Cost, Count, Measurement
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.target import Target

ProtocolName = Literal["standard", "paper", "curve", "cascade"]
Backward = Literal["adaptive", "true"]


class AttackResult(NamedTuple):
    """A measurement, and what became of each sample."""

    measurement: Measurement
    per_sample: PerSampleResult


def count(hits: Tensor) -> Count:
    """How many samples are true, of all."""
    return Count(hits=int(hits.sum()), n=len(hits))


def record(
    context: EvalContext,
    target: Target,
    per_sample: PerSampleResult,
    *,
    attack: str,
    config: Mapping[str, Any],
    threat: Threat,
    eps: float | None = None,
    protocol: ProtocolName,
    access: Access,
    backward: Backward = "adaptive",
    cost: Cost | None = None,
) -> AttackResult:
    """Count an outcome.

    Args:
        context: Data and seed.
        target: Whose outcome it is.
        per_sample: One row a sample of the setting's data.
        attack: The attack's label.
        config: Its hyperparameters.
        threat: What was allowed.
        eps: What was made use of; the threat's by default.
        protocol: Under which protocol.
        access: What the attacker knew.
        backward: Gradient of adaptive stages that the attack saw.
        cost: What it took.

    Returns:
        The record with the outcome.
    """
    measurement = Measurement(
        subject=target.subject,
        protocol=protocol,
        access=access,
        attack=attack,
        config=dict(config),
        backward=backward,
        threat=str(threat),
        eps=threat.eps if eps is None else eps,
        split=context.split,
        n=context.n,
        robust=count(per_sample.robust),
        detected=None if per_sample.detected is None else count(per_sample.detected),
        flagged=None if per_sample.flagged is None else count(per_sample.flagged),
        stable=count(per_sample.stable),
        drop=float(per_sample.drop.double().mean()),
        cost=cost or Cost(),
        seed=context.seed,
        weights=target.weights,
        data_hash=context.data.content_hash,
    )
    return AttackResult(measurement, per_sample)
