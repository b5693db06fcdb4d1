"""Above which score a sample is suspect, so that few clean samples are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.errors import UsageError

NATURAL = 0.0025
"""Share of clean data that looks like poison by nature: wrong or ambiguous labels."""
SEEN = 0.8
"""Share of the planted copies above a score from which on the score bounds the poison."""

MARGIN = 2.0
"""Clean data may have so many times more samples in the tail than an exponential one."""
BULK = (0.8, 0.95)
"""Quantiles of the data between which the tail of clean data is fitted."""


@dataclass(frozen=True)
class Threshold:
    """A threshold, and what it means.

    Attributes:
        value: Samples with a higher score are suspect.
        poisoned: Estimated share of the data that looks like planted poison.
        seen: Share of planted poison above the threshold.
        tail: Share of clean data above the threshold, if their tail falls off exponentially.
        rank: Number of clean samples, and the rank of the threshold among them; None without.
    """

    value: float
    poisoned: float
    seen: float
    tail: float = 1.0
    rank: tuple[int, int] | None = None


def threshold_by_planted(score: Tensor, planted: Tensor, fpr: float) -> Threshold:
    """Threshold for data of which nobody knows what is clean.

    The scores are a mixture of those of clean and of poisoned samples. If poison scores like what
    was planted, its share is at most the share of the data above a score over that of the planted
    copies (Blanchard, Lee and Scott, 2010). The least of these bounds, less what looks like poison
    by nature, is the estimate. The threshold lets through so many samples beyond this estimate as
    the false-positive rate allows. It also lets through samples that are more like planted copies
    than like the data, where an exponential tail fitted to the bulk of the data would leave fewer
    than the rate: poison that scores above all clean samples, but below most planted copies.

    Args:
        score: Log-odds of planted poison against the data, of the samples, shape (n,).
        planted: Of the planted copies, shape (m,).
        fpr: Share of the clean samples that may be suspect.
    """
    ordered = score.sort(descending=True).values
    above = torch.arange(1, len(ordered) + 1) / len(ordered)
    found = 1 - torch.searchsorted(planted.sort().values, ordered) / len(planted)
    bounds = above[found >= SEEN] / found[found >= SEEN]
    poisoned = max(0.0, float(bounds.min()) - NATURAL) if len(bounds) else 0.0
    tail = _exponential_tail(ordered)
    beyond = (ordered > 0) & (tail <= fpr)
    allowed = ((above - min(poisoned, 1.0) * found <= fpr) | beyond).nonzero()[:, 0]
    last = int(allowed[-1]) if len(allowed) else 0
    value = _below(ordered, last) if len(allowed) else float(ordered[0])
    return Threshold(value, poisoned, float((planted > value).float().mean()), float(tail[last]))


def threshold_by_clean(clean: Tensor, planted: Tensor, fpr: float) -> Threshold:
    """Threshold that at most a share of clean samples exceeds (split conformal).

    Args:
        clean: Scores of samples that are known to be clean, shape (k,).
        planted: Of the planted copies, shape (m,).
        fpr: Share of clean samples that may be suspect.

    Raises:
        UsageError: If there are too few clean samples for the rate.
    """
    rank = math.ceil((len(clean) + 1) * (1 - fpr))
    if rank > len(clean):
        raise UsageError(
            f"--fpr {fpr:g} of {len(clean)} clean samples: give at least {1 / (len(clean) + 1):.2g}"
        )
    value = float(clean.sort().values[rank - 1])
    return Threshold(value, 0.0, float((planted > value).float().mean()), 1.0, (len(clean), rank))


def _exponential_tail(ordered: Tensor) -> Tensor:
    """Share of clean data above each score, if their tail falls off exponentially, shape (n,).

    Args:
        ordered: Scores of the data, descending, shape (n,).
    """
    low, high = BULK
    n = len(ordered)
    start, end = (float(ordered[min(n - 1, int((1 - at) * n))]) for at in BULK)
    rate = math.log((1 - low) / (1 - high)) / max(end - start, 1e-6)
    return (1 - high) * torch.exp(-rate * (ordered - end))


def _below(ordered: Tensor, last: int) -> float:
    """The first score that is not above the threshold."""
    return float(ordered[last + 1]) if last + 1 < len(ordered) else float(ordered[-1]) - 1.0


def chance_of(suspects: int, n: int, fpr: float, threshold: Threshold) -> float:
    """Probability of so many suspects, or more, if all n samples are clean.

    Where suspects lie far above the bulk of the data, clean samples are rarer than the rate says:
    twice what an exponential tail leaves there, at most.

    Args:
        suspects: Their number.
        n: Number of samples.
        fpr: Share of clean samples that may be suspect.
        threshold: With its rank among clean samples if there are some; its own error counts then.
    """
    from scipy.stats import betabinom, binom  # take long to import

    if threshold.rank is None:
        return float(binom.sf(suspects - 1, n, min(fpr, MARGIN * threshold.tail)))
    clean, rank = threshold.rank
    return float(betabinom.sf(suspects - 1, n, clean + 1 - rank, rank))
