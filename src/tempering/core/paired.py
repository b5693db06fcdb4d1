"""How often two models were right on the same samples, and what that says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tempering.core.errors import UsageError
from tempering.core.intervals import Z95, wilson


@dataclass(frozen=True)
class Paired:
    """How often two models were right on the same samples.

    Attributes:
        both: Samples on which both were right.
        first: Samples on which the first alone was right, b.
        second: Samples on which the second alone was right, c.
        neither: Samples on which neither was right.

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
            raise UsageError(f"a comparison over counts {counts}: give at least one sample")

    @property
    def n(self) -> int:
        """How many samples there were."""
        return self.both + self.first + self.second + self.neither

    @property
    def p_value(self) -> float:
        """The exact two-sided test of McNemar, 'Note on the sampling error', 1947.

        If both models were equally good, each sample that tells them apart would speak for
        either with probability 1/2; this is the chance that the b + c of them split as
        unevenly as here or more. Samples on which both are right or both are wrong say
        nothing about it. It is 1 where no sample tells them apart.
        """
        from scipy import stats

        apart = self.first + self.second
        return float(stats.binomtest(self.first, apart).pvalue) if apart else 1.0

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
        """The 95 % interval of the difference, fractions from -1 to 1.

        Newcombe, 'Improved confidence intervals for the difference between binomial
        proportions based on paired data', 1998, method 10: the Wilson intervals of both
        accuracies, which reports show anyway, put together with the models' correlation.
        Unlike the interval of Wald it never leaves [-1, 1], and has a width where no sample
        tells the models apart. It is approximate and the p value exact: near 0.05 one may
        speak for a difference where the other does not.
        """
        first, second = self.both + self.first, self.both + self.second
        below, above = _arms(first, self.n)
        other_below, other_above = _arms(second, self.n)
        phi = self._correlation()
        low = _length(below, other_above, phi)
        high = _length(above, other_below, phi)
        return max(-1.0, self.difference - low), min(1.0, self.difference + high)

    def _correlation(self) -> float:
        """Phi of both verdicts, towards 0 by the paper's continuity correction if positive."""
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
            f"p = {self.p_value:.2g} (only the first right {self.first}, only the second "
            f"{self.second}, of {self.n})"
        )


def _arms(hits: int, n: int) -> tuple[float, float]:
    """How far the Wilson interval reaches below and above a proportion."""
    low, high = wilson(hits, n, Z95)
    return hits / n - low, high - hits / n


def _length(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))
