"""Samples far out along the main direction in which the features of a class vary."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.poisoning.features import Features
from tempering.poisoning.scans.base import ScanScores
from tempering.poisoning.scans.by_class import by_class, standardized


def spectral_signatures(features: Features) -> ScanScores:
    """Score samples by their squared coordinate along the top singular vector of their class.

    Tran, Li and Madry, 'Spectral signatures in backdoor attacks', 2018, algorithm 1; scores of a
    class are made comparable by their median and spread.
    """
    score = by_class(features, _outlying)

    def reason(row: int) -> str:
        return f"its features lie {float(score[row]):.1f} spreads out along the main direction"

    return ScanScores(score, reason)


def _outlying(seen: Tensor, _number: int) -> Tensor:
    centred = seen - seen.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    return standardized((centred @ axes[0]).square().log1p())
