"""Planted faults of the data become flags, and clean data gets none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tempering.app.data_flags import data_flags
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits


def splits() -> Splits:
    x = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return Splits.of(Dataset.of(x, torch.arange(200) % 2))


def planted(data: Splits, part: str, row: int, image: torch.Tensor, label: int) -> Splits:
    """Data with one image of a part replaced by another."""
    old: Dataset = getattr(data, part)
    x, y = old.x.clone(), old.y.clone()
    x[row], y[row] = image, label
    return replace(data, **{part: replace(old, pixels=x, y=y)})


def test_data_without_faults_has_no_flags() -> None:
    assert data_flags(splits()) == []


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_leak_is_flagged_with_its_places(part: str) -> None:
    data = splits()
    leaky = planted(data, part, 5, data.train.x[9], int(data.train.y[9]))
    (flag,) = data_flags(leaky)
    assert flag.name == "leaks between splits"
    later: Dataset = getattr(data, part)
    assert flag.evidence == f"{data.train.ids.names[9]} (train) = {later.ids.names[5]} ({part})"
    assert flag.samples == [later.ids.names[5]]
    assert flag.remedy


def test_equal_images_with_different_labels_are_flagged() -> None:
    data = splits()
    wrong = planted(data, "train", 3, data.train.x[9], 1 - int(data.train.y[9]))
    names = [flag.name for flag in data_flags(wrong)]
    assert "equal images with different labels" in names


def test_a_few_duplicates_are_no_flag_and_many_are() -> None:
    data = splits()
    most = len(data.train) // 100
    for row in range(most + 1):
        assert data_flags(data) == []
        data = planted(data, "train", 50 + row, data.train.x[row], int(data.train.y[row]))
    (flag,) = data_flags(data)
    assert flag.name == "duplicates within a split"
