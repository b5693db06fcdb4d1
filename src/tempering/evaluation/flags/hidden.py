"""Gradients that a stage hides, told from what attacks achieved."""

from __future__ import annotations

from torch import Tensor

from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind, numbers
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.results import AttackResult

ZERO_SHARE = 0.01
"""Share of samples without gradient, a fraction, from which on a flag is raised."""

GAP = Kind(
    "hidden gradient",
    "a stage of the model hides its gradient: an evaluation by the true gradient would claim "
    "more robustness than there is",
    "quote only numbers measured with the adaptive backward, and attack the model without "
    "gradients as well",
    masks=True,
)
ZERO = Kind(
    "zero gradients",
    "on these samples the gradient is zero in every pixel, so gradient attacks do not move at "
    "all; that they stand shows nothing",
    "give the stage that hides its gradient an adaptive backward, or attack without gradients",
    masks=True,
)


def gradient_gap(adaptive: AttackResult, true: AttackResult) -> Flag | None:
    """A model that looks robust to its true gradient and is not to an adaptive one.

    Flagged at two standard errors of the paired difference (McNemar, 1947).

    Args:
        adaptive: One attack with the adaptive backward.
        true: The same attack with the true gradient.
    """
    only_adaptive = true.per_sample.robust & ~adaptive.per_sample.robust
    only_true = adaptive.per_sample.robust & ~true.per_sample.robust
    more, less = int(only_adaptive.sum()), int(only_true.sum())
    if more - less <= 2 * (more + less) ** 0.5:
        return None
    claimed, held = true.measurement.robust, adaptive.measurement.robust
    return GAP.raised(
        f"{adaptive.measurement.attack}: {claimed} by the true gradient, {held} by the "
        "adaptive backward",
        numbers(only_adaptive),
    )


def zero_gradients(zero: Tensor, per_sample: PerSampleResult) -> Flag | None:
    """Samples that stand only because attacks have no gradient to follow.

    Args:
        zero: Samples without gradient, shape (n,), bool.
        per_sample: The worst case; samples that are lost anyway do not matter.
    """
    blind = zero & per_sample.robust
    if not bool(blind.any()) or float(blind.float().mean()) < ZERO_SHARE:
        return None
    return ZERO.raised(f"{int(blind.sum())} of {len(blind)} samples", numbers(blind))
