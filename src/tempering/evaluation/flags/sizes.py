"""Numbers over too few samples."""

from __future__ import annotations

from tempering.core.intervals import wilson
from tempering.core.records import Count, Flag
from tempering.evaluation.flags.kind import Kind

WIDTH = 0.05
"""Widest 95 % interval, a fraction, that still tells something."""

FEW = Kind(
    "too few samples",
    "the 95 % interval is wider than 5 points, so the number says little",
    "evaluate on more samples",
)


def too_few_samples(label: str, stands: Count) -> Flag | None:
    """A number whose interval is so wide that it says little.

    Args:
        label: Whose number it is, such as `worst`.
        stands: The claim.

    Example:
        >>> too_few_samples("worst", Count(hits=90, n=100)).remedy
        'evaluate on about 605 samples'
    """
    low, high = stands.interval
    if high - low <= WIDTH:
        return None
    needed = max(1, stands.n)
    while True:
        needed = -(-needed * 5 // 4)
        likely = round(stands.fraction * needed)
        bounds = wilson(likely, needed)
        if bounds[1] - bounds[0] <= WIDTH:
            break
    return FEW.raised(
        f"{label}: {stands} on {stands.n} samples, an interval of {100 * (high - low):.1f} points",
        remedy=f"evaluate on about {needed} samples",
    )
