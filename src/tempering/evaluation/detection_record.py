"""The record of a detector's scores: area under the ROC curve, rates, and the curve."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.explanation_records import Detection
from tempering.core.record import Count
from tempering.defenses.calibration import threshold_at
from tempering.evaluation.detector_measures import RATES, detector_report

POINTS = 41
"""Points of a ROC curve in a record."""


def detection_of(source: str, clean: Tensor, attacked: Tensor, fooled: Tensor) -> Detection:
    """Measure a score on clean images and on those attacked images that fool the classifier.

    Thresholds are those of the clean images themselves, which flatters the detector a little.

    Args:
        source: What made the attacked images.
        clean: Scores of clean images, shape (n,).
        attacked: Scores of attacked images, shape (m,).
        fooled: Which of them fool the classifier, shape (m,), bool.

    Example:
        >>> clean, attacked = torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0])
        >>> detection_of("pgd", clean, attacked, torch.tensor([True, True])).auroc
        1.0
    """
    count = Count(hits=int(fooled.sum()), n=len(fooled))
    scores = attacked[fooled]
    if not len(scores):
        return Detection(source=source, fooled=count, n=0, clean_n=len(clean))
    rates = [rate for rate in RATES if rate * len(clean) >= 1 - 1e-9]
    report = detector_report(clean, scores, float(clean.median()), rates=rates)
    caught, undetected = {}, {}
    for rate in rates:
        flagged = scores > threshold_at(clean, rate)
        caught[str(rate)] = Count(hits=int(flagged.sum()), n=len(scores))
        undetected[str(rate)] = Count(hits=int((~flagged).sum()), n=len(fooled))
    return Detection(
        source=source,
        fooled=count,
        n=len(scores),
        clean_n=len(clean),
        auroc=report.auroc,
        auroc_interval=report.auroc_interval,
        caught=caught,
        undetected=undetected,
        roc=_curve(clean, scores),
    )


def _curve(clean: Tensor, scores: Tensor) -> list[tuple[float, float]]:
    """Rates at thresholds of clean scores, from (0, .) to (1, 1)."""
    ranked = torch.unique(torch.cat([clean, scores])).flip(0)
    limits = torch.cat([ranked.new_tensor([torch.inf]), ranked])
    points = [
        (float((clean >= limit).double().mean()), float((scores >= limit).double().mean()))
        for limit in limits
    ]
    if len(points) <= POINTS:
        return points
    places = torch.linspace(0, len(points) - 1, POINTS).round().long().tolist()
    return [points[place] for place in places]
