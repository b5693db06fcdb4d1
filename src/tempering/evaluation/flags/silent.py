"""Attacks that had it and let it go."""

from __future__ import annotations

from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.flags.watching import Trace

SILENT = Kind(
    "silent success",
    "on its way the attack held images within the ball that fool the model, and returned "
    "others that do not; counting what it returns makes the model look stronger than it is",
    "let the attack stop at, or return, the first image that fools (until_fooled=True)",
)


def silent_success(part: Slice, trace: Trace) -> Flag | None:
    """Judge what the attack held on its way; a forward pass a sample.

    The third indicator of Pintor et al., 'Indicators of attack failure', 2022.

    Args:
        part: The samples.
        trace: One run of the attack on them.

    Returns:
        `silent success`, or None.
    """
    held = trace.passed & ~trace.broken
    if not bool(held.any()):
        return None
    held &= part.fooled(trace.x_passed)
    if not bool(held.any()):
        return None
    broken = int(trace.broken.sum())
    return SILENT.raised(
        f"{trace.attack.label()} returned {broken} of {len(part)} samples broken, and held "
        f"{int(held.sum())} more that it did not return",
        part.keys[held],
    )
