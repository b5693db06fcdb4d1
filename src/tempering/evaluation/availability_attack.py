"""How many clean inputs an attacker can have refused: forcing them into the flag."""

from __future__ import annotations

from dataclasses import replace

import torch

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.goals import Targeted
from tempering.core.threats import Threat
from tempering.evaluation.attack_samples import AttackTask, attack_samples
from tempering.evaluation.context import EvalContext
from tempering.evaluation.results import AttackResult, ProtocolName, record
from tempering.evaluation.stages import Stage
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import Predictions, predict_samples, without_attack

NAME = "availability"
"""What records call this attack, whichever algorithm runs."""


def availability(
    context: EvalContext,
    target: Target,
    threat: Threat,
    attack: Attack,
    *,
    protocol: ProtocolName = "standard",
    clean: Predictions | None = None,
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
        clean: The target's predictions for all samples, if they are known.

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
    clean = clean or predict_samples(context, target)
    untouched = without_attack(clean, context.data, flag)
    rows = untouched.robust.nonzero()[:, 0]
    task = AttackTask(Stage(attack), threat, goal=Targeted(flag))
    outcomes = attack_samples(context, target, task, clean, rows)
    per_sample = replace(
        untouched, x_adv=context.data.x, forwards=torch.zeros_like(untouched.forwards)
    )
    per_sample = per_sample.put(rows, outcomes.per_sample)
    forced = untouched.robust & (per_sample.predicted == flag)
    return record(
        context,
        target,
        replace(per_sample, flagged=forced),
        attack=NAME,
        config=attack.config(),
        threat=threat,
        protocol=protocol,
        access="white",
        cost=outcomes.cost,
    )
