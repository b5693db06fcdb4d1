"""Attacks that break more when they are given more."""

from __future__ import annotations

from typing import Any

from tempering.attacks.base import Attack
from tempering.attacks.restarts import with_random_start
from tempering.core.records import Flag
from tempering.evaluation.flags.changing import changed
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.flags.watching import Trace

COUNTS = ("steps", "queries", "iterations", "epochs")

WEAK = Kind(
    "attack too weak",
    "twice the steps, or another start, still break samples that the attack left standing; "
    "its accuracy is an upper bound that falls with effort",
    "raise steps and restarts until doubling them breaks nothing more",
)


def attack_too_weak(part: Slice, trace: Trace) -> Flag | None:
    """Double the steps, then start again elsewhere, on the samples that stand.

    After Carlini et al., 'On evaluating adversarial robustness', 2019. Costs up to three
    times the attack's passes on these samples, and 2 forward passes each.

    Args:
        part: The samples.
        trace: One run of the attack on them.

    Returns:
        `attack too weak`, or None where both break nothing more.
    """
    standing = (~trace.broken & ~trace.passed).nonzero()[:, 0]
    if not len(standing):
        return None
    rest = part.at(standing)
    longer = rest.fooled(rest.attacked(doubled(trace.attack)))
    restart = with_random_start(trace.attack)
    again = rest.fooled(rest.attacked(restart, rest.streams.derive("restart", 1)))
    more = longer | again
    if not bool(more.any()):
        return None
    return WEAK.raised(
        f"of {len(rest)} samples that stand under {trace.attack.label()}, twice the steps break "
        f"{int(longer.sum())} and a restart {int(again.sum())}",
        rest.keys[more],
    )


def doubled(attack: Attack) -> Attack:
    """An attack with twice the steps, queries, iterations or epochs.

    Example:
        >>> from tempering.attacks import BPDA, PGD
        >>> doubled(BPDA(PGD(steps=20))).label()
        'pgd-40+bpda'
    """
    return changed(attack, _twice)


def _twice(attack: Attack) -> dict[str, Any]:
    counts = {name: getattr(attack, name, None) for name in COUNTS}
    return {name: 2 * count for name, count in counts.items() if isinstance(count, int)}
