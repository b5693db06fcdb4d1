"""Attacks that fail though everything is allowed."""

from __future__ import annotations

from typing import Any

from tempering.attacks.base import Attack
from tempering.core.records import Flag
from tempering.evaluation.flags.changing import changed
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.flags.watching import watch
from tempering.evaluation.minimum_norm import unbounded

UNCONSTRAINED = Kind(
    "unconstrained attack failure",
    "with every image allowed, any model that has two answers can be fooled; an attack that "
    "cannot do it is blind, or hardly moves",
    "look for hidden gradients, and use more and larger steps, or an attack that needs no gradient",
    masks=True,
)


def unconstrained_attack_failure(part: Slice, attack: Attack) -> Flag | None:
    """Run the attack with the whole box allowed; its passes, and a forward pass a sample.

    The sixth indicator of Pintor et al., 'Indicators of attack failure', 2022: raised by a
    single sample. A success on the way counts, so a sample leaves with it where the attack
    can let it go. A step size that was set for the threat is given up for the attack's own
    rule.

    Args:
        part: Samples that the model gets right.
        attack: What runs.

    Returns:
        `unconstrained attack failure`, or None.
    """
    whole = unbounded(part.threat.name, part.x.shape[1:])
    trace = watch(part.under(whole), changed(attack, _free))
    failed = ~trace.broken & ~trace.passed
    if not bool(failed.any()):
        return None
    return UNCONSTRAINED.raised(
        f"{attack.label()} at {whole}, which allows every image: {int(failed.sum())} of "
        f"{len(part)} samples stand",
        part.keys[failed],
    )


def _free(attack: Attack) -> dict[str, Any]:
    free = {"step_size": None, "until_fooled": True}
    return {name: value for name, value in free.items() if getattr(attack, name, None) is not None}
