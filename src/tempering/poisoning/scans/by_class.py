"""Scans that look at the features of each class by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tempering.poisoning.features import Features


def standardized(score: Tensor) -> Tensor:
    """Scores less their median over their robust spread, shape (n,)."""
    middle = score.median()
    spread = 1.4826 * (score - middle).abs().median()
    return (score - middle) / spread.clamp(min=1e-6)


def by_class(features: Features, judge: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Mean over networks of the scores that a judge gives to the features of each class.

    Args:
        features: Of all samples.
        judge: From features of a class, shape (k, width), and a number for draws, to scores, (k,).

    Returns:
        Shape (n,), float32.
    """
    y = features.data.y
    total = torch.zeros(len(y))
    for number, seen in enumerate(features.trained):
        for label in y.unique().tolist():
            rows = (y == label).nonzero()[:, 0]
            total[rows] += judge(seen[rows], number).float()
    return total / len(features.trained)
