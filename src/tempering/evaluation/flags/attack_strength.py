"""Checks whether an attack was run at full strength: convergence, steps, restarts, seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from tempering.attacks.base import Attack
from tempering.attacks.restarts import with_random_start
from tempering.core.intervals import wilson
from tempering.core.records import Count, Flag
from tempering.core.threats import NORMS
from tempering.evaluation.flags.attack_trace import AttackTrace, trace_attack
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.flags.flag_kind import FlagKind
from tempering.evaluation.minimum_norm import unbounded

LAST_QUERIES = 10
"""Number of last model queries over which the best loss must be flat."""
RISE = 0.05
"""Rise over these queries, as a share of the total rise, above which the loss is not flat."""
MIN_QUERIES = 8
"""Number of queries below which convergence is not judged."""
CONVERGENCE_SHARE = 0.1
"""Share of unbroken samples above which a convergence flag is raised."""
SEED_SHARE = 0.02
"""Share of verdicts that may differ between seeds. The flag is raised if the 95 % interval of
the observed share lies above it."""
BUDGETS = ("steps", "queries", "iterations", "epochs")
"""Fields of an attack that set its length."""

SILENT = FlagKind(
    "silent success",
    "the attack visited adversarial images in the ball but returned others; counting only what it "
    "returns overestimates robustness",
    "stop at, or return, the first adversarial image (until_fooled=True)",
)
INCOMPLETE = FlagKind(
    "incomplete optimization",
    "the best loss was still rising over the last steps",
    "run more steps, or larger ones",
)
NOT_CONVERGED = FlagKind(
    "loss not converged",
    "at the rate of the last quarter of the steps, as many steps again would reach the decision "
    "boundary",
    "run at least twice the steps, or larger ones",
)
TOO_WEAK = FlagKind(
    "attack too weak",
    "twice the steps, or another random start, break more samples; the robust accuracy is an "
    "upper bound that falls with effort",
    "raise steps and restarts until doubling them breaks no more samples",
)
SEED_DEPENDENT = FlagKind(
    "unstable under re-run",
    "the same attack with another seed breaks other samples; each run finds only a part of the "
    "adversarial examples",
    "take the worst case per sample over several seeds or restarts; judge random models by many "
    "draws",
)
UNCONSTRAINED = FlagKind(
    "unconstrained attack failure",
    "the attack fails although every image of the box is allowed, where an adversarial image must "
    "exist",
    "look for masked gradients; use more and larger steps, or an attack that needs no gradient",
    masks=True,
)


def check_silent_success(part: ExaminedSamples, trace: AttackTrace) -> Flag | None:
    """Check the images that the attack visited; 1 forward pass per sample.

    Third indicator of Pintor et al., 'Indicators of attack failure', 2022.

    Args:
        part: The samples.
        trace: A run of the attack on them.

    Returns:
        `silent success`, or None.
    """
    dropped = trace.visited & ~trace.broken
    if not bool(dropped.any()):
        return None
    dropped &= part.fooled(trace.x_visited)
    if not bool(dropped.any()):
        return None
    return SILENT.raised(
        f"{trace.attack.label()} returned {int(trace.broken.sum())} of {len(part)} samples "
        f"broken, and visited adversarial images of {int(dropped.sum())} more",
        part.keys[dropped],
    )


def check_optimization_complete(part: ExaminedSamples, trace: AttackTrace) -> Flag | None:
    """Check whether the best loss is flat at the end; costs no pass.

    Fourth indicator of Pintor et al., 'Indicators of attack failure', 2022: the best loss so
    far, scaled to [0, 1], may rise by at most 0.05 over the last 10 queries, as in the authors'
    code.

    Args:
        part: The samples.
        trace: A run of a gradient attack on them.

    Returns:
        `incomplete optimization`, or None.
    """
    rows = _judged(trace)
    if not bool(rows.any()):
        return None
    best = trace.best()
    total = best[:, -1] - trace.odds.nan_to_num(nan=torch.inf).amin(1)
    late = best[:, -1] - _earlier(trace, best, torch.full_like(trace.queries, LAST_QUERIES))
    rising = rows & (total > 0) & (late > RISE * total)
    if int(rising.sum()) <= CONVERGENCE_SHARE * int(rows.sum()):
        return None
    return INCOMPLETE.raised(
        f"{trace.attack.label()}: on {int(rising.sum())} of {int(rows.sum())} unbroken samples "
        f"the best loss rose by more than {100 * RISE:g} % of its range over the last "
        f"{LAST_QUERIES} queries",
        part.keys[rising],
    )


def check_loss_converged(part: ExaminedSamples, trace: AttackTrace) -> Flag | None:
    """Extrapolate the loss from the last quarter of the queries; costs no pass.

    Args:
        part: The samples.
        trace: A run of a gradient attack on them.

    Returns:
        `loss not converged`, or None.
    """
    rows = _judged(trace)
    if not bool(rows.any()):
        return None
    best = trace.best()
    rise = best[:, -1] - _earlier(trace, best, trace.queries // 4)
    reaching = rows & (best[:, -1] < 0) & (rise > 0) & (best[:, -1] + 4 * rise >= 0)
    if int(reaching.sum()) <= CONVERGENCE_SHARE * int(rows.sum()):
        return None
    return NOT_CONVERGED.raised(
        f"{trace.attack.label()}: on {int(reaching.sum())} of {int(rows.sum())} unbroken samples "
        "as many steps again, at the rate of the last quarter, would reach the boundary",
        part.keys[reaching],
    )


def _judged(trace: AttackTrace) -> Tensor:
    """Unbroken samples of a gradient attack with enough queries to judge convergence."""
    rows = ~trace.broken & ~trace.visited & (trace.queries >= MIN_QUERIES)
    return rows & (trace.attack.access == "gradients")


def _earlier(trace: AttackTrace, best: Tensor, back: Tensor) -> Tensor:
    """The best loss a number of queries before the last, or the first one."""
    column = (trace.queries - 1 - back).clamp_min(0)
    return best.gather(1, column[:, None])[:, 0]


def check_more_effort(part: ExaminedSamples, trace: AttackTrace) -> Flag | None:
    """Double the steps, and restart from another point, on the unbroken samples.

    After Carlini et al., 'On evaluating adversarial robustness', 2019. Costs up to three times
    the passes of the attack on these samples, and 2 forward passes each.

    Args:
        part: The samples.
        trace: A run of the attack on them.

    Returns:
        `attack too weak`, or None if neither breaks more samples.
    """
    unbroken = (~trace.broken & ~trace.visited).nonzero()[:, 0]
    if not len(unbroken):
        return None
    rest = part.at(unbroken)
    longer = rest.fooled(rest.attacked(doubled(trace.attack)))
    restart = with_random_start(trace.attack)
    again = rest.fooled(rest.attacked(restart, rest.streams.derive("restart", 1)))
    more = longer | again
    if not bool(more.any()):
        return None
    return TOO_WEAK.raised(
        f"of {len(rest)} samples that {trace.attack.label()} does not break, twice the steps "
        f"break {int(longer.sum())} and a restart {int(again.sum())}",
        rest.keys[more],
    )


def doubled(attack: Attack) -> Attack:
    """An attack with twice the steps, queries, iterations or epochs.

    Example:
        >>> from tempering.attacks import BPDA, PGD
        >>> doubled(BPDA(PGD(steps=20))).label()
        'pgd-40+bpda'
    """

    def twice(inner: Attack) -> dict[str, Any]:
        budgets = {name: getattr(inner, name, None) for name in BUDGETS}
        return {name: 2 * value for name, value in budgets.items() if isinstance(value, int)}

    return _with_fields(attack, twice)


def _with_fields(attack: Attack, change: Callable[[Attack], dict[str, Any]]) -> Attack:
    """Change fields of an attack and of the attacks that it is made of."""
    values = change(attack)
    for field in fields(attack):
        value = getattr(attack, field.name)
        if isinstance(value, Attack):
            values[field.name] = _with_fields(value, change)
        elif isinstance(value, tuple) and any(isinstance(item, Attack) for item in value):
            values[field.name] = tuple(_with_fields(item, change) for item in value)
    return replace(attack, **values) if values else attack


def check_seed_dependence(part: ExaminedSamples, trace: AttackTrace) -> Flag | None:
    """Run the attack with another seed; its passes, and 1 forward pass per sample.

    Args:
        part: The samples.
        trace: A run of the attack on them.

    Returns:
        `unstable under re-run`, or None.
    """
    again = part.fooled(part.attacked(trace.attack, part.streams.derive("another seed")))
    differs = again != trace.broken
    if wilson(int(differs.sum()), len(part))[0] <= SEED_SHARE:
        return None
    first = Count(hits=int((~trace.broken).sum()), n=len(part))
    second = Count(hits=int((~again).sum()), n=len(part))
    low, high = first.interval
    outside = not low <= second.fraction <= high
    return SEED_DEPENDENT.raised(
        f"{trace.attack.label()}: {int(differs.sum())} of {len(part)} verdicts differ; "
        f"{first.hits} samples are robust in one run and {second.hits} in the other"
        + (", outside the 95 % interval of the first" if outside else ""),
        part.keys[differs],
    )


def check_unconstrained(part: ExaminedSamples, attack: Attack) -> Flag | None:
    """Run the attack with the whole box allowed; its passes, and 1 forward pass per sample.

    Sixth indicator of Pintor et al., 'Indicators of attack failure', 2022; one sample suffices.
    Adversarial images on the way count, so the attack stops early where it can. A step size that
    was set for the threat is replaced by the attack's own rule.

    Args:
        part: Correctly classified samples.
        attack: The attack.

    Returns:
        `unconstrained attack failure`, or None; None for a threat without a built-in norm.
    """

    def free(inner: Attack) -> dict[str, Any]:
        values = {"step_size": None, "until_fooled": True}
        return {
            name: value for name, value in values.items() if getattr(inner, name, None) is not None
        }

    if part.threat.norm not in NORMS:
        return None
    box = unbounded(part.threat.norm, part.x.shape[1:])
    trace = trace_attack(part.under(box), _with_fields(attack, free))
    failed = ~trace.broken & ~trace.visited
    if not bool(failed.any()):
        return None
    return UNCONSTRAINED.raised(
        f"{attack.label()} at {box}, which allows every image, does not break "
        f"{int(failed.sum())} of {len(part)} samples",
        part.keys[failed],
    )
