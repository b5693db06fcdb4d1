"""How many clean inputs an attacker can have refused: forcing them into the flag."""

from __future__ import annotations

from dataclasses import replace

import torch

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.goals import Reach
from tempering.core.threats import Threat
from tempering.evaluation.judging import Chunk, judge
from tempering.evaluation.outcome import Outcome
from tempering.evaluation.proposing import propose
from tempering.evaluation.recording import Protocol, Trial, record
from tempering.evaluation.setting import Setting
from tempering.evaluation.sharing import over_samples
from tempering.evaluation.target import Target

NAME = "availability"
"""What records call this attack, whichever algorithm runs."""


def availability(
    setting: Setting,
    target: Target,
    threat: Threat,
    attack: Attack,
    *,
    protocol: Protocol = "standard",
) -> Trial:
    """Try to have each rightly classified input flagged as adversarial.

    A detector that refuses whatever an attacker wants it to refuse is an attack of its
    own: on availability.

    Args:
        setting: Data, engine and seed.
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
        `availability(setting, target, Linf(0.3), PGD(steps=40)).measurement.flagged`
    """
    flag = target.flag
    if flag is None:
        raise UsageError(
            f"the {target.subject} model has no adversarial class to force inputs into: "
            "give one with an output after its classes and the attribute adversarial_class"
        )
    target.model.to(setting.engine.device)
    label, size = attack.label(), setting.batch_size

    def forced(chunk: Chunk) -> Outcome:
        rows = chunk.right.nonzero()[:, 0]
        part = chunk.at(rows)
        x_adv = propose(
            target.model,
            attack,
            part.x,
            part.y,
            threat,
            setting.draws(attack, part.ids).to(NAME),
            Reach(flag),
            size,
        )
        outcome = judge(target.model, flag, chunk, chunk.x, threat, size)
        outcome = outcome.put(rows, judge(target.model, flag, part, x_adv, threat, size))
        return replace(outcome, flagged=chunk.right & (outcome.predicted == flag))

    outcome, cost = over_samples(
        setting,
        target.model,
        f"{target.subject}: {NAME}, {label}",
        torch.arange(setting.n),
        forced,
        together=attack.learns(),
    )
    return record(
        setting,
        target,
        outcome,
        attack=NAME,
        config=attack.config(),
        threat=threat,
        protocol=protocol,
        access="white",
        cost=cost,
    )
