"""Whether a detector knows attacks that it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.progress import track
from tempering.core.protocols import Detector
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.defenses.calibration import scores_of
from tempering.defenses.fitting_samples import detector_samples
from tempering.evaluation.detector_measures import DetectorReport, detector_report

NONE = "none"
"""The row of the detector that was fitted to all attacks."""


@dataclass(frozen=True)
class LeaveOneOut:
    """Reports by the attack that was left out, and the attack that is detected.

    Attributes:
        attacks: Labels of the attacks.
        reports: (left out, detected) -> report; left out is `none` for the detector that was
            fitted to all attacks.
    """

    attacks: tuple[str, ...]
    reports: dict[tuple[str, str], DetectorReport]

    def matrix(self) -> list[list[float]]:
        """Share detected: a row for `none` and for each attack left out, a column an attack."""
        rows = (NONE, *self.attacks)
        return [
            [self.reports[row, column].detected.fraction for column in self.attacks] for row in rows
        ]


def leave_one_attack_out(
    fit: Callable[[Sequence[Attack]], Detector],
    model: nn.Module,
    data: Dataset,
    threat: Threat,
    attacks: Sequence[Attack],
    seed: int = 0,
) -> LeaveOneOut:
    """Fit a detector to all attacks, and to all but each; measure each on every attack.

    Args:
        fit: From attacks to a detector, fitted to them and calibrated, such as
            `lambda attacks: fit_detector("discriminator", model, splits, threat, attacks)`.
        model: The classifier that is attacked.
        data: Test data; every image is attacked by every attack.
        threat: What the attacks may change.
        attacks: At least 2, with different labels.
        seed: Of the attacks on test data.

    Returns:
        A report for each pair.

    Raises:
        UsageError: If there are fewer than two attacks, or two have the same label.
    """
    names = tuple(attack.label() for attack in attacks)
    if len(attacks) < 2 or len(set(names)) < len(names):
        raise UsageError(
            f"attacks {', '.join(names) or 'none'}: give at least 2, with different labels"
        )
    adversarial: dict[str, Tensor] = {}
    for name, attack in zip(names, attacks, strict=True):
        x_adv, _ = detector_samples(model, data, threat, [attack], seed).adversarial()
        adversarial[name] = x_adv
    reports: dict[tuple[str, str], DetectorReport] = {}
    with track("leave one attack out", len(attacks) + 1) as advance:
        for left_out in (NONE, *names):
            known = [
                attack for name, attack in zip(names, attacks, strict=True) if name != left_out
            ]
            detector = fit(known)
            clean = scores_of(detector, data.x)
            for name in names:
                scores = scores_of(detector, adversarial[name])
                reports[left_out, name] = detector_report(clean, scores, detector.threshold)
            advance(1, left_out)
    return LeaveOneOut(names, reports)
