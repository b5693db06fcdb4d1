"""Figures of a detector on test images: by attack, by radius, and what it takes them for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.detector_records import AttackDetection, Confusion, DetectionAtEps, LeftOut
from tempering.core.protocols import Detector
from tempering.core.record import Count
from tempering.core.threats import Threat
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset
from tempering.defenses.calibration import scores_of
from tempering.defenses.discriminator import Discriminator
from tempering.defenses.features import BATCH_SIZE
from tempering.defenses.fitting_samples import detector_samples
from tempering.evaluation.detector_measures import DetectorReport, Proportion, detector_report
from tempering.evaluation.roc import roc_points
from tempering.evaluation.unknown_attacks import LeaveOneOut

Images = Mapping[str, Tensor]
"""Label of an attack -> what it makes of all test images, shape (n, c, h, w)."""


def attacked(
    network: nn.Module, data: Dataset, threat: Threat, attacks: Sequence[Attack], seed: int
) -> dict[str, Tensor]:
    """All test images under each attack on a network, on the CPU."""
    made = {}
    for attack in attacks:
        x_adv, _ = detector_samples(network, data, threat, [attack], seed).adversarial()
        made[attack.label()] = x_adv
    return made


def in_turn(images: Images) -> Tensor:
    """Each test image under one of the attacks, shape (n, c, h, w)."""
    every = list(images.values())
    mixed = every[0].clone()
    for number, x_adv in enumerate(every):
        mixed[number :: len(every)] = x_adv[number :: len(every)]
    return mixed


@dataclass(frozen=True, eq=False)
class Judge:
    """A detector and its scores of clean test images.

    Attributes:
        detector: Fitted and calibrated.
        clean: Scores, shape (n,).
    """

    detector: Detector
    clean: Tensor

    @classmethod
    def of(cls, detector: Detector, data: Dataset) -> Judge:
        """Score the clean images."""
        return cls(detector, scores_of(detector, data.x))

    @property
    def clean_rejected(self) -> Count:
        """Clean images that are flagged."""
        return _count(self.clean > self.detector.threshold.cpu())

    def detection(self, attack: str, x_adv: Tensor, known: bool) -> AttackDetection:
        """How well it tells attacked images from clean ones."""
        scores = scores_of(self.detector, x_adv)
        report = detector_report(self.clean, scores, self.detector.threshold)
        low, high = report.tpr_at.values()
        return AttackDetection(
            attack=attack,
            known=known,
            auroc=report.auroc,
            auroc_interval=report.auroc_interval,
            detected=_counted(report.detected),
            tpr_at_1=None if low is None else _counted(low),
            tpr_at_5=None if high is None else _counted(high),
            roc=roc_points(self.clean, scores),
        )

    def accuracies(self, network: nn.Module, data: Dataset, x_adv: Tensor) -> tuple[Count, Count]:
        """Accuracy on what is accepted, and with flagged clean images as wrong ones."""
        scores = scores_of(self.detector, x_adv)
        right, right_adv = (predicted(network, x) == data.y for x in (data.x, x_adv))
        report = detector_report(self.clean, scores, self.detector.threshold, right, right_adv)
        assert report.accuracy_on_accepted is not None
        assert report.accuracy_end_to_end is not None
        return _counted(report.accuracy_on_accepted), _counted(report.accuracy_end_to_end)

    def at_eps(self, eps: float, images: Images) -> DetectionAtEps:
        """What it flags of attacks of a radius."""
        limit = self.detector.threshold.cpu()
        flagged = {name: _count(scores_of(self.detector, x) > limit) for name, x in images.items()}
        return DetectionAtEps(eps=eps, detected=flagged)


def confusion(detector: Detector, x: Tensor, images: Images) -> Confusion | None:
    """What a discriminator takes clean and attacked images for; None of another detector."""
    if not isinstance(detector, Discriminator):
        return None
    device = detector.threshold.device
    counts = []
    for shown in (x, *images.values()):
        kinds = [detector.kind_of(part.to(device)).cpu() for part in torch.split(shown, BATCH_SIZE)]
        counts.append(torch.cat(kinds).bincount(minlength=len(detector.kinds)).tolist())
    return Confusion(kinds=list(detector.kinds), counts=counts)


def left_out_rows(matrix: LeaveOneOut, none: str) -> list[LeftOut]:
    """Records of `leave_one_attack_out`."""
    rows = []
    for name in (none, *matrix.attacks):
        reports: dict[str, DetectorReport] = {
            attack: matrix.reports[name, attack] for attack in matrix.attacks
        }
        rejected = next(iter(reports.values())).clean_rejected
        detected = {attack: _counted(report.detected) for attack, report in reports.items()}
        rows.append(LeftOut(attack=name, clean_rejected=_counted(rejected), detected=detected))
    return rows


@torch.no_grad()
def predicted(network: nn.Module, x: Tensor) -> Tensor:
    """The class of each image, shape (n,), on the CPU."""
    device = device_of(network)
    return torch.cat(
        [network(part.to(device)).argmax(1).cpu() for part in torch.split(x, BATCH_SIZE)]
    )


def _count(hits: Tensor) -> Count:
    return Count(hits=int(hits.sum()), n=len(hits))


def _counted(share: Proportion) -> Count:
    return Count(hits=share.hits, n=share.n)
