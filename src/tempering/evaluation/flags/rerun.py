"""Attacks whose result depends on the seed."""

from __future__ import annotations

from tempering.core.intervals import wilson
from tempering.core.records import Count, Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.flags.watching import Trace

DIFFERS = 0.02
"""Share of verdicts that may differ, a fraction: the flag is raised where the 95 % interval
of the share that does lies above."""

RERUN = Kind(
    "unstable under re-run",
    "the same attack with another seed breaks other samples: each run finds a part of what "
    "can be found, and a number from one run is luck",
    "take the worst case per sample over several seeds or restarts; judge random models by "
    "many draws",
)


def unstable_under_rerun(part: Slice, trace: Trace) -> Flag | None:
    """Run the attack with another seed; its passes, and a forward pass a sample.

    Args:
        part: The samples.
        trace: One run of the attack on them.

    Returns:
        `unstable under re-run`, or None.
    """
    again = part.fooled(part.attacked(trace.attack, part.streams.derive("another seed")))
    differs = again != trace.broken
    if wilson(int(differs.sum()), len(part))[0] <= DIFFERS:
        return None
    first = Count(hits=int((~trace.broken).sum()), n=len(part))
    second = Count(hits=int((~again).sum()), n=len(part))
    low, high = first.interval
    outside = not low <= second.fraction <= high
    return RERUN.raised(
        f"{trace.attack.label()}: {int(differs.sum())} of {len(part)} verdicts differ; "
        f"{first.hits} samples stand in one run and {second.hits} in the other"
        + (", outside of the first one's 95 % interval" if outside else ""),
        part.keys[differs],
    )
