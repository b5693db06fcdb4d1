"""Above which score a sample is suspect, so that few clean samples are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.errors import UsageError

_SEEN = 0.3
"""Share of the planted poison above a score from which on the score tells of poison."""


@dataclass(frozen=True)
class Threshold:
    """A threshold, and what it means.

    Attributes:
        value: Samples with a higher score are suspect.
        poisoned: Estimated share of the data that looks like planted poison.
        seen: Share of planted poison above the threshold.
    """

    value: float
    poisoned: float
    seen: float


def threshold_by_planted(score: Tensor, planted: Tensor, fpr: float) -> Threshold:
    """Threshold for data of which nobody knows what is clean.

    The scores are a mixture of those of clean and of poisoned samples. If poison scores like what
    was planted, its share is at most the share of the data above any score over that of the
    planted copies (Blanchard, Lee and Scott, 2010); the least of these bounds is the estimate. The
    threshold lets through so many samples beyond this estimate as the false-positive rate allows.

    Args:
        score: Of the samples, shape (n,).
        planted: Of the planted copies, shape (m,).
        fpr: Share of the clean samples that may be suspect.
    """
    ordered = score.sort(descending=True).values
    above = torch.arange(1, len(ordered) + 1) / len(ordered)
    reference = planted.sort().values
    found = 1 - torch.searchsorted(reference, ordered) / len(reference)
    telling = found >= _SEEN
    # three deviations, so that the least of many bounds is no accident of few samples
    high = above + 3 * (above / len(ordered)).sqrt()
    poisoned = (
        float((high / found.clamp(min=1e-9))[telling].min().clamp(max=1)) if telling.any() else 0.0
    )
    excess = above - poisoned * found
    allowed = (excess <= fpr).nonzero()[:, 0]
    last = int(allowed[-1]) if len(allowed) else -1
    value = _between(ordered, last)
    return Threshold(value, poisoned, float((planted > value).float().mean()))


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
    return Threshold(value, 0.0, float((planted > value).float().mean()))


def _between(ordered: Tensor, last: int) -> float:
    """A value between the last sample above the threshold and the next one."""
    if last < 0:
        return float(ordered[0])
    if last + 1 >= len(ordered):
        return float(ordered[-1]) - 1.0
    return float(ordered[last + 1])
