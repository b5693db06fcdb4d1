"""Stability: how much attacks move a model, and how much its training's seed does.

The paper (Afzal and Huzaifa, section IV) names stability without a formula. Ours are
three numbers: the share of predictions that no attack changed, the mean fall of the true
class's probability, and the spread over training seeds. Pure functions of records.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tempering.core.errors import UsageError
from tempering.core.records import Measurement, Summary


def stability_of(worst: Measurement) -> dict[str, float]:
    """How much attacks move a model, as fractions.

    Args:
        worst: The worst case per sample over the attacks.

    Returns:
        `unchanged`, the share of predictions that no attack changed, right or wrong; and
        `drop`, the mean over samples of the largest fall of the true class's probability.
    """
    return {"unchanged": worst.stable.fraction, "drop": worst.drop}


@dataclass(frozen=True)
class Spread:
    """One number over several runs, a fraction.

    Attributes:
        runs: How many.
        mean: Their mean.
        deviation: Their sample standard deviation; 0 for one run.
        low: The lowest.
        high: The highest.
    """

    runs: int
    mean: float
    deviation: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of some values.

        Raises:
            UsageError: If there is none.

        Example:
            >>> Spread.of([0.9, 0.92]).high
            0.92
        """
        if not values:
            raise UsageError("the spread of no runs: give the summary of at least one")
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(len(values), statistics.fmean(values), deviation, min(values), max(values))


def spread(summaries: Sequence[Summary]) -> dict[str, Spread]:
    """How far runs that differ only in their seed are apart.

    Args:
        summaries: One a run, of the same data, threat and number of samples.

    Returns:
        `clean` and `robust` accuracy (the upper bound).

    Raises:
        UsageError: If there is no run, two have the same seed, or they are of other data
            or another threat.
    """
    seeds = [summary.seed for summary in summaries]
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"runs with seeds {seeds}: give runs whose seeds differ")
    kinds = {(summary.data, summary.threat, summary.n) for summary in summaries}
    if len(kinds) > 1:
        said = " and ".join(f"{data} under {threat} (n {n})" for data, threat, n in sorted(kinds))
        raise UsageError(f"runs of {said}: give runs of the same data, threat and n")
    return {
        "clean": Spread.of([summary.clean_accuracy for summary in summaries]),
        "robust": Spread.of([summary.robust_accuracy.upper for summary in summaries]),
    }
