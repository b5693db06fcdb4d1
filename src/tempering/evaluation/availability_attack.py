"""How many clean inputs an attacker can have refused: forcing them into the flag."""

from __future__ import annotations

from dataclasses import replace

import torch

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.goals import Targeted
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.proposals import propose
from tempering.evaluation.results import AttackResult, ProtocolName, record
from tempering.evaluation.sharing import over_samples
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import Chunk, judge

NAME = "availability"
"""What records call this attack, whichever algorithm runs."""


def availability(
    context: EvalContext,
    target: Target,
    threat: Threat,
    attack: Attack,
    *,
    protocol: ProtocolName = "standard",
) -> AttackResult:
    """Try to have each rightly classified input flagged as adversarial.

    A detector that refuses whatever an attacker wants it to refuse is an attack of its
    own: on availability.

    Args:
        context: Data, engine and seed.
        target: A model with an adversarial class.
        threat: What may change.
        attack: The algorithm; its goal is the flag.
        protocol: For the record.

    Returns:
        A record with the attack `availability`; `flagged` counts, of all samples, those
        that were right without attack and ended in the flag with it.

    Raises:
        UsageError: If the model has no adversarial class.
        AttackError: If a proposal breaks the rules.

    Example:
        `availability(context, target, Linf(0.3), PGD(steps=40)).measurement.flagged`
    """
    flag = target.flag
    if flag is None:
        raise UsageError(
            f"the {target.subject} model has no adversarial class to force inputs into: "
            "give one with an output after its classes and the attribute adversarial_class"
        )
    target.model.to(context.engine.device)
    label, size = attack.label(), context.batch_size

    def forced(chunk: Chunk) -> PerSampleResult:
        rows = chunk.right.nonzero()[:, 0]
        part = chunk.at(rows)
        x_adv = propose(
            target.model,
            attack,
            part.x,
            part.y,
            threat,
            context.streams(attack, part.keys).derive(NAME),
            Targeted(flag),
            size,
        )
        per_sample = judge(target.model, flag, chunk, chunk.x, threat, size)
        per_sample = per_sample.put(rows, judge(target.model, flag, part, x_adv, threat, size))
        return replace(per_sample, flagged=chunk.right & (per_sample.predicted == flag))

    per_sample, cost = over_samples(
        context,
        target.model,
        f"{target.subject}: {NAME}, {label}",
        torch.arange(context.n),
        forced,
        together=attack.batch_dependent(),
    )
    return record(
        context,
        target,
        per_sample,
        attack=NAME,
        config=attack.config(),
        threat=threat,
        protocol=protocol,
        access="white",
        cost=cost,
    )
