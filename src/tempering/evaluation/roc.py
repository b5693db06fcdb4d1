"""Receiver operating characteristics."""

from __future__ import annotations

import torch
from torch import Tensor

POINTS = 100


def roc_points(clean: Tensor, adv: Tensor, most: int = POINTS) -> list[tuple[float, float]]:
    """The ROC curve of a detector.

    Args:
        clean: Scores of clean images, shape (n,), at least one; larger is more suspect.
        adv: Scores of adversarial images, shape (m,), at least one.
        most: Points at most, from 2; of more the curve keeps some, evenly along its length.

    Returns:
        False and true positive rates, from (0, 0) to (1, 1), neither falls.

    Example:
        >>> roc_points(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 2.0]))
        [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]
    """
    limits = _distinct(torch.cat([clean, adv])).flip(0)
    false, true = (_share_from(scores, limits) for scores in (clean, adv))
    start = false.new_zeros(1)
    false, true = torch.cat([start, false]), torch.cat([start, true])
    kept = _evenly(false + true, most) if len(false) > most else torch.arange(len(false))
    pairs = torch.stack([false[kept], true[kept]], 1).tolist()
    return [(round(x, 6), round(y, 6)) for x, y in pairs]


def _share_from(scores: Tensor, limits: Tensor) -> Tensor:
    """Share of scores at or above each limit, float64."""
    below = torch.searchsorted(scores.sort().values, limits)
    return (len(scores) - below).double() / len(scores)


def _evenly(along: Tensor, most: int) -> Tensor:
    """Rows that lie evenly along a value that does not fall, both ends among them."""
    wanted = torch.linspace(0, float(along[-1]), most, dtype=along.dtype)
    rows = _distinct(torch.searchsorted(along, wanted).clamp(max=len(along) - 1))
    inner = rows[(rows > 0) & (rows < len(along) - 1)]
    return torch.cat([rows.new_tensor([0]), inner, rows.new_tensor([len(along) - 1])])


def _distinct(values: Tensor) -> Tensor:
    """The different values, smallest first."""
    ranked = values.sort().values
    return torch.cat([ranked[:1], ranked[1:][ranked.diff() > 0]])
