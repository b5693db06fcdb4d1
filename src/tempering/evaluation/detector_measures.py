"""What a detector achieves: error rates, and what they cost the classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.errors import DataError
from tempering.core.intervals import Z95, wilson
from tempering.defenses.calibration import threshold_at

RATES = (0.01, 0.05)
"""False-positive rates at which true-positive rates are reported."""


@dataclass(frozen=True)
class Proportion:
    """A count of a number of samples.

    Attributes:
        hits: Samples that count.
        n: Samples.

    Example:
        >>> Proportion(90, 100).fraction
        0.9
    """

    hits: int
    n: int

    @property
    def fraction(self) -> float:
        """Share, 0 to 1; NaN of no samples."""
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson(self.hits, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits}/{self.n} = {self.fraction:.1%} [{low:.1%}, {high:.1%}]"


@dataclass(frozen=True)
class DetectorReport:
    """Measures of a detector on clean and adversarial images.

    Accuracies are None without `clean_correct` and `adv_correct`. The other counts of an
    abstaining model, such as clean images that can be forced to be flagged, need attacks of
    their own: `tempering.evaluate` measures them on a `Pipeline`.

    Attributes:
        threshold: Score above which an image is flagged.
        auroc: Chance that an adversarial image has a larger score than a clean one; ties
            count half.
        auroc_interval: Its 95 % interval (Hanley and McNeil, 1982).
        tpr_at: False-positive rate -> adversarial images flagged at the threshold of that rate;
            None where there are too few clean images to show the rate.
        clean_rejected: Clean images flagged.
        detected: Adversarial images flagged.
        clean_accuracy: Clean images accepted and classified correctly.
        strict_robust: Adversarial images accepted and classified correctly.
        robust_with_detection: Adversarial images flagged or classified correctly.
        accuracy_on_accepted: Correct among all accepted images; leaving out what was rejected
            flatters it.
        accuracy_end_to_end: Clean images accepted and correct and adversarial images flagged or
            correct, of all images: rejected clean images count as wrong.
    """

    threshold: float
    auroc: float
    auroc_interval: tuple[float, float]
    tpr_at: dict[float, Proportion | None]
    clean_rejected: Proportion
    detected: Proportion
    clean_accuracy: Proportion | None = None
    strict_robust: Proportion | None = None
    robust_with_detection: Proportion | None = None
    accuracy_on_accepted: Proportion | None = None
    accuracy_end_to_end: Proportion | None = None


def detector_report(
    scores_clean: Tensor,
    scores_adv: Tensor,
    threshold: float | Tensor,
    clean_correct: Tensor | None = None,
    adv_correct: Tensor | None = None,
    rates: Sequence[float] = RATES,
) -> DetectorReport:
    """Measure a detector by its scores.

    Args:
        scores_clean: Of clean test images, shape (n,); larger is more suspect.
        scores_adv: Of adversarial images, shape (m,).
        threshold: Score above which an image is flagged.
        clean_correct: Whether the classifier, without the detector, gets each clean image right,
            shape (n,), bool.
        adv_correct: The same for adversarial images, shape (m,); give both or neither.
        rates: False-positive rates for `tpr_at`; their thresholds are those of `scores_clean`.

    Returns:
        The measures.

    Raises:
        DataError: If there are no scores, some are not finite, or shapes do not fit.

    Example:
        >>> clean, adv = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([2.5, 4.0])
        >>> report = detector_report(clean, adv, threshold=2.2, rates=[0.25])
        >>> report.auroc, str(report.detected).split(" [")[0], report.tpr_at[0.25].hits
        (0.875, '2/2 = 100.0%', 1)
    """
    clean, adv = _checked(scores_clean, "clean"), _checked(scores_adv, "adversarial")
    limit = float(threshold)
    if not math.isfinite(limit):
        raise DataError(f"threshold {limit}: give a finite score, as `calibrate` sets it")
    area = _area(clean, adv)
    flagged_clean, flagged_adv = clean > limit, adv > limit
    report = DetectorReport(
        threshold=limit,
        auroc=area,
        auroc_interval=_area_interval(area, len(clean), len(adv)),
        tpr_at={rate: _detected_at(clean, adv, rate) for rate in rates},
        clean_rejected=_share(flagged_clean),
        detected=_share(flagged_adv),
    )
    if clean_correct is None and adv_correct is None:
        return report
    right = _right(clean_correct, clean, "clean_correct")
    right_adv = _right(adv_correct, adv, "adv_correct")
    kept, kept_adv = right & ~flagged_clean, right_adv & ~flagged_adv
    safe = right_adv | flagged_adv
    accepted = int((~flagged_clean).sum() + (~flagged_adv).sum())
    return DetectorReport(
        **{name: getattr(report, name) for name in _ALWAYS},
        clean_accuracy=_share(kept),
        strict_robust=_share(kept_adv),
        robust_with_detection=_share(safe),
        accuracy_on_accepted=Proportion(int(kept.sum() + kept_adv.sum()), accepted),
        accuracy_end_to_end=_share(torch.cat([kept, safe])),
    )


_ALWAYS = ("threshold", "auroc", "auroc_interval", "tpr_at", "clean_rejected", "detected")


def _checked(scores: Tensor, what: str) -> Tensor:
    if scores.ndim != 1 or len(scores) == 0:
        raise DataError(f"{what} scores of shape {tuple(scores.shape)}: give (n,), at least one")
    bad = (~scores.isfinite()).nonzero()[:, 0]
    if len(bad):
        raise DataError(
            f"{what} score {int(bad[0])} is {float(scores[bad[0]])}: give finite scores"
        )
    return scores.detach().cpu()


def _right(correct: Tensor | None, scores: Tensor, what: str) -> Tensor:
    if correct is None or correct.dtype != torch.bool or correct.shape != scores.shape:
        given = "None" if correct is None else f"{correct.dtype} {tuple(correct.shape)}"
        raise DataError(f"{what} {given}: give bool of shape {tuple(scores.shape)}, or neither")
    return correct.cpu()


def _share(hits: Tensor) -> Proportion:
    return Proportion(int(hits.sum()), len(hits))


def _detected_at(clean: Tensor, adv: Tensor, rate: float) -> Proportion | None:
    if rate * len(clean) < 1 - 1e-9:
        return None
    return _share(adv > threshold_at(clean, rate))


def _area(clean: Tensor, adv: Tensor) -> float:
    """The Mann-Whitney statistic over the number of pairs."""
    ranked = clean.sort().values
    below = torch.searchsorted(ranked, adv, right=False)
    up_to = torch.searchsorted(ranked, adv, right=True)
    return float((below + up_to).double().sum() / 2 / (len(clean) * len(adv)))


def _area_interval(area: float, clean: int, adv: int) -> tuple[float, float]:
    both_adv, both_clean = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (adv - 1) * (both_adv - area**2) + (clean - 1) * (both_clean - area**2)
    ) / (clean * adv)
    half = Z95 * math.sqrt(max(0.0, variance))
    return max(0.0, area - half), min(1.0, area + half)
