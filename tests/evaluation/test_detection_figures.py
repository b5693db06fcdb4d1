"""A detector's figures count what it flags, by attack and by kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.attacks.fgsm import FGSM
from tempering.attacks.pgd import PGD
from tempering.core.protocols import Detector
from tempering.core.record import Count
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.defenses.discriminator import Discriminator
from tempering.defenses.fitting_samples import detector_samples
from tempering.evaluation.detection_figures import Judge, attacked, confusion, in_turn


class Brightness(Detector):
    def score(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1)


class Half(nn.Module):
    """Class 1 where the first pixel is above one half."""

    def forward(self, x: Tensor) -> Tensor:
        first = x.flatten(1)[:, :1]
        return torch.cat([torch.full_like(first, 0.5), first], 1)


def images(*levels: float) -> Tensor:
    return torch.tensor(levels).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def data(*levels: float) -> Dataset:
    x = images(*levels)
    return Dataset(x, (x[:, 0, 0, 0] > 0.5).long(), ("dark", "bright"), "toy")


def test_flagged_images_and_accuracies_are_counted() -> None:
    clean = data(0.1, 0.2, 0.3, 0.9)
    judge = Judge.of(Brightness(0.8), clean)
    assert judge.clean_rejected == Count(hits=1, n=4)
    shown = images(0.9, 0.1, 0.7, 0.95)
    found = judge.detection("toy", shown, known=False)
    assert found.detected == Count(hits=2, n=4)
    assert found.tpr_at_1 is None
    assert found.auroc == 11 / 16
    accepted, end_to_end = judge.accuracies(Half(), clean, shown)
    assert accepted == Count(hits=4, n=5)
    assert end_to_end == Count(hits=3 + 3, n=8)


def test_attacks_of_other_radii_are_counted_by_attack() -> None:
    judge = Judge.of(Brightness(0.5), data(0.1, 0.2))
    row = judge.at_eps(0.3, {"a": images(0.4, 0.6), "b": images(0.6, 0.7)})
    assert (row.eps, row.detected["a"].hits, row.detected["b"].hits) == (0.3, 1, 2)


def test_each_image_is_attacked_by_one_attack_in_turn() -> None:
    mixed = in_turn({"a": images(0, 0, 0, 0, 0), "b": images(1, 1, 1, 1, 1)})
    assert mixed[:, 0, 0, 0].tolist() == [0, 1, 0, 1, 0]


def test_a_discriminators_answers_are_counted_by_kind() -> None:
    draw = torch.Generator().manual_seed(0)
    x = 0.4 + 0.2 * torch.rand((24, 1, 8, 8), generator=draw)
    clean = Dataset(x, torch.arange(24) % 2, ("a", "b"), "noise")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    attacks = (FGSM(), PGD(steps=2, until_fooled=False))
    samples = detector_samples(net, clean, Linf(0.3), attacks)
    detector = Discriminator(epochs=20).fit(samples)
    made = attacked(net, clean, Linf(0.3), attacks, seed=0)
    matrix = confusion(detector, x, made)
    assert matrix is not None
    assert matrix.kinds == ["clean", "fgsm", "pgd-2"]
    assert [sum(row) for row in matrix.counts] == [24, 24, 24]
    assert matrix.counts[0][0] == int((detector.kind_of(x) == 0).sum())
    assert matrix.counts[0][0] > 20
    assert confusion(Brightness(0.5), x, made) is None
