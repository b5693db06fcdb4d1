"""One score from those of several scans, learned from what was planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.poisoning.planting import KINDS

_LIMIT = 1e3
_PENALTY = 0.3


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
    is the log of the sum of the odds.

    Args:
        scores: Scan -> scores of samples and planted copies, shape (n + m,).
        kind: Index of the kind of each copy, -1 for samples, shape (n + m,).
    """
    from sklearn.linear_model import LogisticRegression  # takes long to import

    own = kind < 0
    spread = torch.stack([_compressed(score, own) for score in scores.values()], 1)
    odds, weights = [], {}
    for number, name in enumerate(KINDS):
        rows = own | (kind == number)
        model = LogisticRegression(C=1 / _PENALTY, class_weight="balanced", max_iter=500)
        model.fit(spread[rows].double().numpy(), (kind[rows] == number).numpy())
        slope = torch.from_numpy(model.coef_[0]).float()
        odds.append(spread @ slope + float(model.intercept_[0]))
        weights[name] = slope.tolist()
    each = torch.stack(odds, 1)
    return Ensemble(
        each.logsumexp(1),
        each,
        spread,
        {scan: {name: weights[name][at] for name in KINDS} for at, scan in enumerate(scores)},
    )


def _compressed(score: Tensor, own: Tensor) -> Tensor:
    """Standardised by the median and spread of the data, on a scale that is logarithmic far out."""
    middle = score[own].median()
    spread = 1.4826 * (score[own] - middle).abs().median()
    scaled = ((score - middle) / spread.clamp(min=1e-6)).clamp(-_LIMIT, _LIMIT)
    return scaled.sign() * scaled.abs().log1p()
