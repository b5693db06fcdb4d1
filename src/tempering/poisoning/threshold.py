"""Above which score a sample is suspect, so that few clean samples are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tempering.core.errors import UsageError

START = 0.7
"""Quantile of the data above which scores are explained."""
POINTS = 80
FEWEST = 3
"""Scores at which shares are compared, and samples above the last of them."""
SHAPES = (0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)
RATES = (0.1, 10.0, 40)
"""Exponents of the tail of clean data, and rates: lowest, highest and number of them."""
ESTIMATED = 2
"""Half of the rate is that of a mirrored threshold, which errs as one from n clean samples does."""


@dataclass(frozen=True)
class Threshold:
    """A threshold, and what it means.

    Attributes:
        value: Samples with a higher score are suspect.
        rank: Number of clean samples, and the rank of the threshold among them; None without.
    """

    value: float
    rank: tuple[int, int] | None = None


def threshold_by_planted(score: Tensor, planted: Sequence[Tensor], fpr: float) -> Threshold:
    """Threshold for data of which nobody knows what is clean.

    The scores of the data are a mixture: clean samples, whose tail falls off as
    `exp(-rate * s ** shape)`, and poison of each planted kind, distributed like its copies. The
    mixture that fits the data best tells how many clean samples are above each score. (An estimate
    of mixture proportions; compare Blanchard, Lee and Scott, 2010.)

    Args:
        score: Log-odds of planted poison against the data, of the samples, shape (n,).
        planted: Of the planted copies of each kind, each of shape (m,).
        fpr: Share of the samples that may be clean and suspect.
    """
    own = score.double().numpy()
    start, middle = np.quantile(own, START), np.median(own)
    last = min(FEWEST / len(own), (1 - START) / 2)
    levels = np.unique(np.quantile(own, 1 - np.geomspace(1 - START, last, POINTS)))
    above = _above(own, levels)
    like = [_above(copies.double().numpy(), levels) for copies in planted]
    weight = 1 / np.sqrt(above * (1 - above) / len(own) + 1e-9)
    unit = max(float(start - middle), 1e-6)
    tail = _Tail.fit((levels - start) / unit, above, like, weight)
    return Threshold(float(start) + unit * tail.distance(fpr))


def mirrored_threshold(score: Tensor, fpr: float) -> Threshold:
    """Threshold at the mirror image of the lower tail about the median.

    It holds where the upper tail of clean samples is no heavier than the lower one, and poison
    lies above the median; it does not depend on how much poison there is.

    Args:
        score: Of the samples, shape (n,).
        fpr: Share of the samples that may be clean and suspect.
    """
    ordered = score.double().sort().values
    middle, low = ordered[len(ordered) // 2], ordered[int(fpr * len(ordered))]
    return Threshold(float(2 * middle - low))


def threshold_by_clean(clean: Tensor, fpr: float) -> Threshold:
    """Threshold that at most a share of clean samples exceeds (split conformal).

    Args:
        clean: Scores of samples that are known to be clean, shape (k,).
        fpr: Share of clean samples that may be suspect.

    Raises:
        UsageError: If there are too few clean samples for the rate.
    """
    rank = math.ceil((len(clean) + 1) * (1 - fpr))
    if rank > len(clean):
        raise UsageError(
            f"--fpr {fpr:g} of {len(clean)} clean samples: give at least {1 / (len(clean) + 1):.2g}"
        )
    return Threshold(float(clean.sort().values[rank - 1]), (len(clean), rank))


def chance_of(suspects: int, n: int, fpr: float, threshold: Threshold) -> float:
    """Probability of so many suspects, or more, if all n samples are clean.

    Args:
        suspects: Their number.
        n: Number of samples.
        fpr: Share of clean samples that may be suspect.
        threshold: With its rank among clean samples if there are some. Its own error counts: an
            estimate errs as one does that has the same rank among `ESTIMATED * n` clean samples.
    """
    from scipy.stats import betabinom  # takes long to import

    seen = ESTIMATED * n
    clean, rank = threshold.rank or (seen, seen + 1 - fpr * seen)
    return float(betabinom.sf(suspects - 1, n, clean + 1 - rank, rank))


@dataclass(frozen=True)
class _Tail:
    """How many clean samples are above a score.

    Attributes:
        share: Clean share above the start of the tail.
        rate: Of the decrease.
        shape: Exponent of the distance from the start.
    """

    share: float
    rate: float
    shape: float

    @classmethod
    def fit(
        cls,
        distance: NDArray[np.float64],
        above: NDArray[np.float64],
        like: Sequence[NDArray[np.float64]],
        weight: NDArray[np.float64],
    ) -> _Tail:
        """The mixture with the least weighted squared error; no share is negative."""
        from scipy.optimize import nnls  # takes long to import

        best, found = math.inf, cls(1.0, 1.0, 1.0)
        for shape in SHAPES:
            powers = np.maximum(distance, 0) ** shape
            for rate in np.geomspace(*RATES):
                columns = np.column_stack([np.exp(-rate * powers), *like])
                shares, error = nnls(columns * weight[:, None], above * weight)
                if error < best:
                    best = error
                    found = cls(float(shares[0]), float(rate), shape)
        return found

    def distance(self, share: float) -> float:
        """How far from the start so many clean samples are above."""
        ratio = max(self.share, 1e-12) / share
        return float((max(0.0, math.log(ratio)) / self.rate) ** (1 / self.shape))


def _above(values: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of some values at or above each level."""
    below = np.searchsorted(np.sort(values), levels, side="left")
    return 1 - below / len(values)
