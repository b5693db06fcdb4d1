from __future__ import annotations

import pytest
import torch

from tempering.data import Dataset, Splits, load
from tempering.data.raw_splits import RawSplits
from tempering.data.sources.mnist import read_mnist


@pytest.fixture(scope="session")
def mnist() -> Splits:
    return load("mnist")


@pytest.fixture(scope="session")
def published() -> RawSplits:
    """MNIST in the order and bytes of its files."""
    return read_mnist()


@pytest.fixture
def small() -> Splits:
    """60 different images of 3 classes."""
    levels = torch.arange(60).float()[:, None, None, None] / 60
    x = levels.expand(60, 1, 4, 4).clone()
    return Splits.of(Dataset.of(x, torch.arange(60) % 3, ["a", "b", "c"], "small"))
