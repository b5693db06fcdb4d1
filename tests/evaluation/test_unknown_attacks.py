"""Leave one attack out: what a detector knows of attacks that it never saw."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import FGSM, PGD
from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.protocols import Detector
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.evaluation import leave_one_attack_out

DATA = Dataset.of(torch.full((8, 1, 2, 2), 0.5), torch.arange(8) % 2)


class KnowsByStepCount(Detector):
    """Flags perturbed images if it was fitted to FGSM."""

    def __init__(self, fitted_to: Sequence[str]) -> None:
        super().__init__(0.01)
        self.fitted_to = tuple(fitted_to)

    def score(self, x: Tensor) -> Tensor:
        change = (x - 0.5).abs().flatten(1).amax(1)
        return change if "fgsm" in self.fitted_to else -change


def model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def test_each_detector_is_fitted_without_its_attack_and_measured_on_all() -> None:
    asked: list[tuple[str, ...]] = []

    def fit(attacks: Sequence[Attack]) -> Detector:
        asked.append(tuple(attack.label() for attack in attacks))
        return KnowsByStepCount(asked[-1])

    result = leave_one_attack_out(fit, model(), DATA, Linf(0.1), [FGSM(), PGD(steps=3)])
    assert asked == [("fgsm", "pgd-3"), ("pgd-3",), ("fgsm",)]
    assert result.attacks == ("fgsm", "pgd-3")
    assert result.matrix() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
    report = result.reports["fgsm", "pgd-3"]
    assert (report.detected.hits, report.detected.n, report.clean_rejected.hits) == (0, 8, 0)


def test_one_attack_or_two_of_one_name_are_refused() -> None:
    for attacks in ([FGSM()], [FGSM(), FGSM()]):
        with pytest.raises(UsageError, match="give at least 2, with different labels"):
            leave_one_attack_out(KnowsByStepCount, model(), DATA, Linf(0.1), attacks)  # type: ignore[arg-type]
