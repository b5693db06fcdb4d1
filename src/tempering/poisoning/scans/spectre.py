"""Outliers of a class after whitening with a robust covariance."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.poisoning.features import Features
from tempering.poisoning.scans.base import ScanScores
from tempering.poisoning.scans.by_class import by_class, standardized

DIMENSIONS = 10
TRIMMED, ROUNDS = 0.9, 3
"""Share of the samples that the covariance is computed from, and how often."""
ALPHA = 4.0
"""The exponent of quantum entropy, as in the paper."""
_RIDGE = 1e-6


def spectre(features: Features) -> ScanScores:
    """Score samples by quantum entropy of robustly whitened features of their class.

    Hayase, Kong, Somani and Oh, 'SPECTRE: defending against backdoor attacks using robust
    statistics', 2021. The covariance is that of the 90 % of samples nearest to the centre, found
    again in three rounds, in place of the paper's filter; the number of components is fixed.
    """
    score = by_class(features, _entropy)

    def reason(row: int) -> str:
        return f"its features lie {float(score[row]):.1f} spreads outside those of its class"

    return ScanScores(score, reason)


def _entropy(seen: Tensor, _number: int) -> Tensor:
    centred = seen.double() - seen.double().mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    reduced = centred @ axes[:DIMENSIONS].T
    white = robustly_whitened(reduced)
    covariance = torch.cov(white.T).reshape(white.shape[1], -1)
    identity = torch.eye(len(covariance), dtype=covariance.dtype)
    size = (torch.linalg.matrix_norm(covariance, 2) - 1).clamp(min=1e-6)
    weights = torch.linalg.matrix_exp(ALPHA * (covariance - identity) / size)
    return standardized(torch.einsum("ni,ij,nj->n", white, weights, white).clamp(min=1e-12).log())


def robustly_whitened(vectors: Tensor) -> Tensor:
    """Vectors with the covariance of their inner part as the unit, shape (n, k), float64."""
    inner = vectors
    identity = torch.eye(vectors.shape[1], dtype=vectors.dtype)
    centre, white = vectors.median(0).values, vectors
    for _ in range(ROUNDS):
        covariance = torch.cov(inner.T).reshape(vectors.shape[1], -1)
        ridge = _RIDGE * covariance.diagonal().mean().clamp(min=1e-9)
        factor = torch.linalg.cholesky(covariance + ridge * identity)
        white = torch.linalg.solve_triangular(factor, (vectors - centre).T, upper=False).T
        far = white.square().sum(1)
        inner = vectors[far <= far.quantile(TRIMMED)]
        centre = inner.mean(0)
    return white
