"""Attacks that were stopped while they still climbed."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.flags.watching import Trace

LAST = 10
"""Last looks over which an optimisation has to be flat."""
STILL = 0.05
"""Rise over these looks, as a share of the whole climb, above which it is not."""
ENOUGH = 8
"""Looks below which a climb is too short to tell."""
SHARE = 0.1
"""Share of standing samples, a fraction, above which a flag is raised."""

INCOMPLETE = Kind(
    "incomplete optimization",
    "the best loss was still rising over the last steps; the attack did not end where it was going",
    "run more steps, or larger ones",
)
CONVERGED = Kind(
    "loss not converged",
    "at the pace of the last quarter of its steps, as many steps again would carry the loss "
    "over the boundary; the attack was stopped on its way to success",
    "run at least twice the steps, or larger ones",
)


def incomplete_optimization(part: Slice, trace: Trace) -> Flag | None:
    """Look whether the best loss is flat at the end; costs no pass.

    The fourth indicator of Pintor et al., 'Indicators of attack failure', 2022: the best
    loss so far, scaled to [0, 1], may rise by no more than 0.05 over the last 10 looks, as
    in the authors' code.

    Args:
        part: The samples.
        trace: One run of an attack by gradients on them.

    Returns:
        `incomplete optimization`, or None.
    """
    rows = _climbs(trace)
    if not bool(rows.any()):
        return None
    best = trace.best()
    whole = best[:, -1] - trace.odds.nan_to_num(nan=torch.inf).amin(1)
    late = best[:, -1] - _before(trace, best, torch.full_like(trace.looks, LAST))
    rising = rows & (whole > 0) & (late > STILL * whole)
    if int(rising.sum()) <= SHARE * int(rows.sum()):
        return None
    return INCOMPLETE.raised(
        f"{trace.attack.label()}: on {int(rising.sum())} of {int(rows.sum())} samples that stand "
        f"the best loss rose by more than {100 * STILL:g} % of its range over the last {LAST} "
        "looks",
        part.keys[rising],
    )


def loss_not_converged(part: Slice, trace: Trace) -> Flag | None:
    """Look whether the pace of the last quarter would do; costs no pass.

    Args:
        part: The samples.
        trace: One run of an attack by gradients on them.

    Returns:
        `loss not converged`, or None.
    """
    rows = _climbs(trace)
    if not bool(rows.any()):
        return None
    best = trace.best()
    rise = best[:, -1] - _before(trace, best, trace.looks // 4)
    reaching = rows & (best[:, -1] < 0) & (rise > 0) & (best[:, -1] + 4 * rise >= 0)
    if int(reaching.sum()) <= SHARE * int(rows.sum()):
        return None
    return CONVERGED.raised(
        f"{trace.attack.label()}: on {int(reaching.sum())} of {int(rows.sum())} samples that "
        "stand, as many steps again at the pace of the last quarter would break them",
        part.keys[reaching],
    )


def _climbs(trace: Trace) -> Tensor:
    """Samples that stand, on an attack by gradients, after looks enough to tell."""
    rows = ~trace.broken & ~trace.passed & (trace.looks >= ENOUGH)
    return rows & (trace.attack.access == "gradients")


def _before(trace: Trace, best: Tensor, back: Tensor) -> Tensor:
    """The best loss so many looks before the last; the first one where there were fewer."""
    column = (trace.looks - 1 - back).clamp_min(0)
    return best.gather(1, column[:, None])[:, 0]
