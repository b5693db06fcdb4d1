"""Smallest changes that were not found."""

from __future__ import annotations

from tempering.core.records import Flag, MinimumNorm
from tempering.evaluation.flags.kind import Kind

FOUND = 0.95
"""Success rate of an unbounded attack, a fraction, below which a flag is raised."""

FAILS = Kind(
    "unbounded attack fails",
    "without a bound every model can be misled; samples on which nothing was found make its "
    "distances too large",
    "give it more searches, iterations or a larger learning rate",
    masks=True,
)


def search_failed(distances: MinimumNorm) -> Flag | None:
    """A minimum-norm attack that found no adversarial where there must be one.

    Args:
        distances: What it found.
    """
    if distances.found.fraction >= FOUND:
        return None
    return FAILS.raised(f"{distances.attack}: found for {distances.found}")
