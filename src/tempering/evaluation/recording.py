"""From outcomes to records: counts over all samples, and everything that made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor

from tempering.core.records import Access, Cost, Count, Measurement
from tempering.core.threats import Threat
from tempering.evaluation.outcome import Outcome
from tempering.evaluation.setting import Setting
from tempering.evaluation.target import Target

Protocol = Literal["standard", "paper", "curve", "cascade"]
Backward = Literal["adaptive", "true"]


class Trial(NamedTuple):
    """A measurement, and what became of each sample."""

    measurement: Measurement
    outcome: Outcome


def count(hits: Tensor) -> Count:
    """How many samples are true, of all."""
    return Count(hits=int(hits.sum()), n=len(hits))


def record(
    setting: Setting,
    target: Target,
    outcome: Outcome,
    *,
    attack: str,
    config: Mapping[str, Any],
    threat: Threat,
    protocol: Protocol,
    access: Access,
    backward: Backward = "adaptive",
    cost: Cost | None = None,
) -> Trial:
    """Count an outcome.

    Args:
        setting: Data and seed.
        target: Whose outcome it is.
        outcome: One row a sample of the setting's data.
        attack: The attack's label.
        config: Its hyperparameters.
        threat: What was allowed.
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
        eps=threat.eps,
        split=setting.split,
        n=setting.n,
        strict=count(outcome.strict),
        detected=None if outcome.detected is None else count(outcome.detected),
        flagged=None if outcome.flagged is None else count(outcome.flagged),
        stable=count(outcome.stable),
        drop=float(outcome.drop.double().mean()),
        cost=cost or Cost(),
        seed=setting.seed,
        weights=target.weights,
        data_hash=setting.data.content_hash,
    )
    return Trial(measurement, outcome)
