"""Measuring a model under one attack."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.records import Access
from tempering.core.threats import Threat
from tempering.evaluation.attack_samples import AttackTask, attack_samples
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import lost
from tempering.evaluation.results import AttackResult, Backward, ProtocolName, record
from tempering.evaluation.stages import Stage
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import Predictions, predict_samples, without_attack


def measure(
    context: EvalContext,
    target: Target,
    attack: Attack | None,
    threat: Threat,
    *,
    protocol: ProtocolName = "standard",
    access: Access = "white",
    source: nn.Module | None = None,
    backward: Backward = "adaptive",
    rows: Tensor | None = None,
) -> AttackResult:
    """Attack a model, check every proposal, and count.

    Whatever the attack is, the target is run again on what it proposes, and what
    leaves the ball or the box is refused. A white-box attacker leads each sample away
    from its predicted class, which for a sample that counts is the true one; so
    `stable` says of misclassified samples too whether they can be changed.

    If the target has an adversarial class, samples on which the first run ends in the
    true class or in the flag are attacked once more, by an attacker who wants neither,
    and the worse end is kept. Gray-box attackers do so where the model that they own
    flags their first sample. Samples made long ago (`stale`) are not adapted.

    Args:
        context: Data, engine and seed.
        target: The model under attack; it is moved to the engine's device.
        attack: Proposes; None for no attack.
        threat: What may change.
        protocol: For the record.
        access: What the attacker knows. For gray-box access the attack runs to its last
            step on the source, and each of its restarts is tried on the target.
        source: The model that samples are made on; None for the target itself.
        backward: `true` to let adaptive stages show their true gradient, which tells
            what a naive evaluation would claim.
        rows: Samples that still matter, shape (m,), int64; by default all. The others
            are not attacked and count as lost.

    Returns:
        The record, with counts over all samples, and what became of each sample.

    Raises:
        AttackError: If a proposal breaks the rules; names the attack and the sample.
        ModelError: If a model does not answer with finite logits.
        ThreatError: If the attack does not know the threat's norm.
        UsageError: If access and source do not fit together.

    Example:
        >>> import torch
        >>> from tempering.attacks import FGSM
        >>> from tempering.core.engine import start_engine
        >>> from tempering.core.threats import Linf
        >>> from tempering.data.dataset import Dataset
        >>> data = Dataset(torch.rand(8, 1, 2, 2), torch.zeros(8).long(), ("a", "b"), "toy")
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> context = EvalContext(data, "test", start_engine("32-true"), seed=0)
        >>> measurement, _ = measure(context, Target.of("given", net, data), FGSM(), Linf(0.1))
        >>> measurement.robust.n
        8
    """
    rows = torch.arange(context.n) if rows is None else rows
    if attack is None:
        if access != "white" or source is not None:
            raise UsageError(f"access {access!r} without an attack: leave access and source out")
        return clean_result(context, target, threat, protocol=protocol, rows=rows)
    task = AttackTask(Stage(attack, access, backward), threat, source)
    clean = predict_samples(context, target, rows)
    outcomes = attack_samples(context, target, task, clean, rows)
    seen = replace(outcomes.per_sample, forwards=outcomes.per_sample.forwards + 1)
    return record(
        context,
        target,
        lost(seen, context.data.x).put(rows, seen),
        attack=attack.label(),
        config=attack.config(),
        threat=threat,
        protocol=protocol,
        access=access,
        backward=backward,
        cost=clean.cost + outcomes.cost,
    )


def clean_result(
    context: EvalContext,
    target: Target,
    threat: Threat,
    *,
    protocol: ProtocolName = "standard",
    rows: Tensor | None = None,
    clean: Predictions | None = None,
) -> AttackResult:
    """The target without any attack.

    Args:
        context: Data and engine.
        target: The model.
        threat: For the record, in which eps is 0.
        protocol: For the record.
        rows: Samples that still matter, shape (m,), int64; by default all. The others count
            as lost.
        clean: Predictions for these samples, if they are known.
    """
    clean = clean or predict_samples(context, target, rows)
    return record(
        context,
        target,
        without_attack(clean, context.data, target.flag),
        attack="clean",
        config={},
        threat=threat,
        eps=0.0,
        protocol=protocol,
        access="white",
        cost=clean.cost,
    )
