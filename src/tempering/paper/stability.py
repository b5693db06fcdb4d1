"""Stability over training seeds.

The paper (Afzal and Huzaifa, section IV) names stability without a formula. The stability of
one model under attack is part of every summary; this is the spread of results over runs that
differ in their seed only. Pure functions of records.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tempering.core.errors import UsageError
from tempering.core.records import Summary
from tempering.core.threat_words import exact


@dataclass(frozen=True)
class Spread:
    """A result over several runs, in fractions.

    Attributes:
        runs: Number of runs.
        mean: Mean.
        deviation: Sample standard deviation; 0 for a single run.
        low: Minimum.
        high: Maximum.
    """

    runs: int
    mean: float
    deviation: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of given values.

        Raises:
            UsageError: If no value is given.

        Example:
            >>> Spread.of([0.9, 0.92]).high
            0.92
        """
        if not values:
            raise UsageError("the spread of no runs: give the summary of at least one")
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(len(values), statistics.fmean(values), deviation, min(values), max(values))


def spread(summaries: Sequence[Summary]) -> dict[str, Spread]:
    """Spread of accuracy over runs that differ in their seed only.

    Args:
        summaries: One for each run, with equal data, threat and number of samples.

    Returns:
        `clean` and `robust` accuracy (the upper bound).

    Raises:
        UsageError: If there is no run, two runs have the same seed, or data, threat or
            number of samples differ.
    """
    seeds = [summary.seed for summary in summaries]
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"runs with seeds {seeds}: give runs whose seeds differ")
    kinds = {(summary.data, exact(summary.threat), summary.n) for summary in summaries}
    if len(kinds) > 1:
        said = " and ".join(f"{data} under {threat} (n {n})" for data, threat, n in sorted(kinds))
        raise UsageError(f"runs of {said}: give runs of the same data, threat and n")
    return {
        "clean": Spread.of([summary.clean_accuracy for summary in summaries]),
        "robust": Spread.of([summary.robust_accuracy.upper for summary in summaries]),
    }
