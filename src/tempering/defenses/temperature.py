"""Temperature scaling: logits divided by a number that makes their probabilities honest."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tempering.core.errors import DataError

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures that are searched."""
_ROUNDS = 60
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(logits: Tensor, y: Tensor) -> float:
    """The temperature of least cross-entropy on validation samples.

    Guo et al., 'On calibration of modern neural networks', 2017, section 4.2; by golden section
    search of its logarithm, in float64.

    Args:
        logits: Shape (n, classes), of samples that the model was not trained on.
        y: Labels, shape (n,).

    Returns:
        Between 0.05 and 20; above 1 for a model that is too sure.

    Raises:
        DataError: If there are no samples.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 2)
        3.64
    """
    if len(logits) == 0:
        raise DataError("no samples to fit a temperature to: give at least 1")
    held = logits.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(held / math.exp(log_temperature), y))

    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(_ROUNDS):
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    return math.exp((low + high) / 2)


def calibration_error(logits: Tensor, y: Tensor, temperature: float = 1.0, bins: int = 15) -> float:
    """Expected calibration error: mean gap of confidence and accuracy, over bins of confidence.

    Guo et al., 2017, equation 3.

    Args:
        logits: Shape (n, classes).
        y: Labels, shape (n,).
        temperature: Above 0.
        bins: Of equal width.

    Returns:
        0 to 1.
    """
    confidence, predicted = (logits / temperature).softmax(1).max(1)
    gap = (predicted == y).double() - confidence.double()
    which = (confidence * bins).ceil().long().clamp(1, bins) - 1
    sums = torch.zeros(bins, dtype=torch.float64).index_add_(0, which, gap)
    return float(sums.abs().sum() / max(1, len(y)))
