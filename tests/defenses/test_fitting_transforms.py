"""Transforms that learn from training images look at a bounded number of pixels."""

import pytest
import torch

from tempering.core.threats import Linf
from tempering.data import Dataset
from tempering.defenses import fitting_transforms
from tempering.defenses.text import read_defenses
from tempering.defenses.threshold import Threshold


def test_of_large_images_fewer_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.rand(40, 1, 4, 4), torch.arange(40) % 2
    seen: list[int] = []

    def fit(self: Threshold, x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> None:
        assert x.shape == low.shape == high.shape
        seen.append(len(x))
        self.at, self.learn = 0.5, 0

    monkeypatch.setattr(Threshold, "fit", fit)
    data, stages = Dataset.of(x, y), read_defenses("threshold:learn=1")
    for numbers in (2**25, 10 * 16, 1):
        monkeypatch.setattr(fitting_transforms, "_NUMBERS", numbers)
        fitting_transforms.fitted_transforms(stages, data, Linf(0.1))
    assert seen == [40, 10, 1]
