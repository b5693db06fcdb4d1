"""The threshold of a detector, at a false-positive rate on clean images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError, ModelError, UsageError
from tempering.core.frozen import frozen
from tempering.core.protocols import Detector, one_score_each
from tempering.core.user_code import users_code
from tempering.defenses.features import BATCH_SIZE


def scores_of(detector: Detector, x: Tensor) -> Tensor:
    """Scores of many images, without gradients, in evaluation mode.

    Args:
        detector: Fitted; it is left as it was.
        x: Images in [0, 1], shape (n, c, h, w).

    Returns:
        Shape (n,), on the CPU.

    Raises:
        ModelError: If it fails or is not fitted, there is not one score an image, or a score is not
            finite.
    """
    device = detector.threshold.device
    with frozen(detector) as view, torch.no_grad():
        parts = [_scored(view, part.to(device)).cpu() for part in torch.split(x, BATCH_SIZE)]
    scores = torch.cat(parts) if parts else torch.zeros(0)
    bad = (~scores.isfinite()).nonzero()[:, 0]
    if len(bad):
        raise ModelError(
            f"the score of {type(detector).__name__} for image {int(bad[0])} is "
            f"{float(scores[bad[0]])}: give images and features for which it is finite"
        )
    return scores


def _scored(detector: nn.Module, x: Tensor) -> Tensor:
    """Scores of a few images, shape (n,)."""
    name = type(detector).__name__
    with users_code(
        f"{name} fails on images of shape {tuple(x.shape[1:])}",
        "give images of the shape that it was fitted to, or correct its score",
    ):
        scores = detector(x.clone())
    return one_score_each(name, scores, len(x))


def require_rate(fpr: float, n: int) -> int:
    """How many of n clean images a false-positive rate may flag.

    Raises:
        UsageError: If the rate is not within (0, 1), or finer than n images can show.
    """
    if not 0 < fpr < 1:
        raise UsageError(f"fpr {fpr}: give a false-positive rate between 0 and 1, such as 0.05")
    allowed = math.floor(fpr * n * (1 + 1e-9))
    if allowed < 1:
        finest = f"the finest rate is 1/{n} = {1 / n:.2g}" if n else "there is nothing to measure"
        raise UsageError(
            f"fpr {fpr:g} on {n} clean images: {finest}: "
            f"give more, or at least {math.ceil(1 / fpr - 1e-9)} images"
        )
    return allowed


def threshold_at(scores: Tensor, fpr: float) -> float:
    """The threshold that at most a share of clean scores exceeds.

    Args:
        scores: Of clean images, shape (n,), finite.
        fpr: The share, above 0 and below 1, at least 1/n.

    Returns:
        The middle between the last score that is accepted and the first that is flagged.

    Raises:
        UsageError: If the rate is not within (0, 1), or finer than n scores can show.

    Example:
        >>> threshold_at(torch.tensor([4.0, 1.0, 2.0, 3.0]), 0.25)
        3.5
    """
    allowed = require_rate(fpr, len(scores))
    ranked = scores.double().sort(descending=True).values
    return float((ranked[allowed - 1] + ranked[min(allowed, len(ranked) - 1)]) / 2)


def calibrate(detector: Detector, x: Tensor, fpr: float = 0.05) -> float:
    """Set a detector's threshold at a false-positive rate, and the spread of its clean scores.

    Args:
        detector: Fitted; its threshold and spread are set.
        x: Clean validation images, which it was not fitted to, shape (n, c, h, w).
        fpr: Share of them that it may flag, at least 1/n.

    Returns:
        The threshold.

    Raises:
        UsageError: If the rate is not within (0, 1), or finer than n images can show.
        ModelError: If the detector is not fitted, or a score is not finite.
        DataError: If x is no batch of images.
    """
    if x.ndim != 4:
        raise DataError(f"validation images of shape {tuple(x.shape)}: give (n, c, h, w)")
    require_rate(fpr, len(x))
    scores = scores_of(detector, x)
    detector.threshold.fill_(threshold_at(scores, fpr))
    spread = float(scores.double().std(correction=0))
    detector.clean_spread.fill_(spread if spread > 0 else 1.0)
    return float(detector.threshold)
