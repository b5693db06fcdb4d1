"""Paired counts of two models on the same samples, with a confidence interval and a test."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tempering.core.errors import UsageError
from tempering.core.intervals import Z95, wilson


@dataclass(frozen=True)
class PairedCounts:
    """How often each of two models was correct on the same samples.

    Attributes:
        both: Samples on which both models were correct.
        first: Samples on which only the first was correct (b).
        second: Samples on which only the second was correct (c).
        neither: Samples on which neither was correct.

    Raises:
        UsageError: If a count is negative, or there is no sample.
    """

    both: int
    first: int
    second: int
    neither: int

    def __post_init__(self) -> None:
        counts = (self.both, self.first, self.second, self.neither)
        if min(counts) < 0 or self.n == 0:
            raise UsageError(f"paired counts {counts}: give counts of at least 0, not all 0")

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.both + self.first + self.second + self.neither

    @property
    def p_value(self) -> float:
        """P value of the exact two-sided test of McNemar, 'Note on the sampling error', 1947.

        Under the null hypothesis of equal accuracy, each of the b + c discordant samples
        favours either model with probability 1/2. The p value is the probability of a split
        at least as uneven as the observed one; it is 1 if there is no discordant sample.
        """
        from scipy import stats

        discordant = self.first + self.second
        return float(stats.binomtest(self.first, discordant).pvalue) if discordant else 1.0

    @property
    def difference(self) -> float:
        """Accuracy of the first less that of the second, a fraction from -1 to 1."""
        return (self.first - self.second) / self.n

    @property
    def points(self) -> float:
        """The difference in percentage points."""
        return 100 * self.difference

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the difference, fractions from -1 to 1.

        Newcombe, 'Improved confidence intervals for the difference between binomial
        proportions based on paired data', 1998, method 10: it combines the Wilson intervals
        of both accuracies with the correlation of the models. Unlike the Wald interval it
        stays in [-1, 1] and has a positive width without discordant samples. The interval is
        approximate and the p value exact, so they can disagree for p near 0.05.
        """
        first, second = self.both + self.first, self.both + self.second
        below, above = _wilson_arms(first, self.n)
        other_below, other_above = _wilson_arms(second, self.n)
        phi = self._correlation()
        low = _half_width(below, other_above, phi)
        high = _half_width(above, other_below, phi)
        return max(-1.0, self.difference - low), min(1.0, self.difference + high)

    def _correlation(self) -> float:
        """Phi coefficient, with the continuity correction of the paper if it is positive."""
        first, second, n = self.both + self.first, self.both + self.second, self.n
        margins = first * (n - first) * second * (n - second)
        if margins == 0:
            return 0.0
        excess: float = self.both * self.neither - self.first * self.second
        if excess > 0:
            excess = max(0.0, excess - n / 2)
        return excess / math.sqrt(margins)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.points:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], "
            f"p = {self.p_value:.2g} (only the first correct: {self.first}, only the "
            f"second: {self.second}, of {self.n})"
        )


def _wilson_arms(hits: int, n: int) -> tuple[float, float]:
    """Distance from a proportion to both ends of its Wilson interval."""
    low, high = wilson(hits, n, Z95)
    return hits / n - low, high - hits / n


def _half_width(first: float, second: float, phi: float) -> float:
    return math.sqrt(max(0.0, first * first - 2 * phi * first * second + second * second))
