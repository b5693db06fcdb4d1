from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tempering.data import Dataset, SampleIds


def images(n: int = 120, seed: int = 0, name: str = "small/train", prefix: str = "") -> Dataset:
    """Three classes of 8 x 8 images: a bright third of the rows, and noise."""
    draws = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = 0.4 * torch.rand(n, 1, 8, 8, generator=draws)
    for label in range(3):
        x[y == label, :, 2 * label : 2 * label + 2] += 0.5
    data = Dataset.of((255 * x).to(torch.uint8), y, ("cat", "dog", "owl"), name)
    return replace(data, ids=SampleIds.rows(n, prefix))


@pytest.fixture
def data() -> Dataset:
    return images()


@pytest.fixture
def test_data() -> Dataset:
    return images(30, 1, "small/test", "test/")


@pytest.fixture(scope="session")
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
