"""One score from those of several scans, learned from what was planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tempering.poisoning.planting import KINDS

Floats = NDArray[np.float64]

LABELS = ("confident-learning",)
"""Scans of labels."""
_LIMIT = 1e3
_PENALTY = 1e-4


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Scores of several scans as one.

    Attributes:
        score: Log of the odds of planted poison against the data, shape (n + m,), float32.
        odds: The same against each kind of planted poison, shape (n + m, kinds).
        spread: Standardised score of each scan, shape (n + m, scans).
        weights: Scan -> weight for each kind of planted poison.
    """

    score: Tensor
    odds: Tensor
    spread: Tensor
    weights: dict[str, dict[str, float]]


def combine(scores: Mapping[str, Tensor], kind: Tensor) -> Ensemble:
    """Learn what planted poison looks like in the scores of scans.

    For each kind of planted poison a logistic regression separates it from the data; the score
    is the log of the sum of the odds. No weight is negative: a higher score of a scan never makes
    a sample less suspect, whatever the planted copies look like. Scans of labels count for flipped
    labels alone: whether the small networks learn a trigger, and then believe the label, depends
    on the poison.

    Args:
        scores: Scan -> scores of samples and planted copies, shape (n + m,).
        kind: Index of the kind of each copy, -1 for samples, shape (n + m,).
    """
    own = kind < 0
    spread = torch.stack([_compressed(score, own) for score in scores.values()], 1)
    odds, slopes = [], []
    for number, name in enumerate(KINDS):
        rows = own | (kind == number)
        counts = [name == "label flip" or scan not in LABELS for scan in scores]
        slope, offset = nonnegative_regression(
            (spread[rows] * torch.tensor(counts)).double().numpy(), (kind[rows] == number).numpy()
        )
        slope = slope * np.array(counts)
        odds.append((spread.double() @ torch.from_numpy(slope) + offset).float())
        slopes.append(slope.tolist())
    each = torch.stack(odds, 1)
    weights = {
        scan: {name: slopes[number][at] for number, name in enumerate(KINDS)}
        for at, scan in enumerate(scores)
    }
    return Ensemble(each.logsumexp(1), each, spread, weights)


def nonnegative_regression(x: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Logistic regression with weights of at least 0; both classes count the same.

    Args:
        x: Shape (n, k).
        positive: Shape (n,), bool, with some of each.

    Returns:
        Weights, shape (k,), and the offset.

    Example:
        >>> x = np.array([[0.0, 1.0], [0.0, 0.0], [3.0, 0.0], [4.0, 1.0]])
        >>> slope, _ = nonnegative_regression(x, np.array([False, False, True, True]))
        >>> bool(slope[0] > 1 > slope[1])
        True
    """
    from scipy.optimize import minimize  # takes long to import

    sign = np.where(positive, 1.0, -1.0)
    weight = np.where(positive, 0.5 / positive.mean(), 0.5 / (1 - positive.mean())) / len(x)

    def loss(values: Floats) -> tuple[float, Floats]:
        slope, offset = values[:-1], values[-1]
        margin = sign * (x @ slope + offset)
        pull = -weight * sign / (1 + np.exp(np.clip(margin, -50, 50)))
        value = float((weight * np.logaddexp(0, -margin)).sum() + _PENALTY * (slope**2).sum())
        return value, np.append(x.T @ pull + 2 * _PENALTY * slope, pull.sum())

    limits = [(0.0, None)] * x.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, bounds=limits, method="L-BFGS-B")
    return found.x[:-1], float(found.x[-1])


def _compressed(score: Tensor, own: Tensor) -> Tensor:
    """Standardised by the median and spread of the data, on a scale that is logarithmic far out."""
    ordered = score[own].sort().values.double()
    n = len(ordered)
    middle = ordered[n // 2]
    typical = 1.4826 * (ordered - middle).abs().median()
    ends = float(ordered[int(0.99 * (n - 1))] - ordered[int(0.01 * (n - 1))]) / 9.3
    scaled = (score.double() - middle) / max(float(typical), ends, 1e-6)
    scaled = scaled.clamp(-_LIMIT, _LIMIT)
    return (scaled.sign() * scaled.abs().log1p()).float()
