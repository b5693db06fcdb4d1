from __future__ import annotations

import pytest
import torch
from torch import nn

from tempering.core.errors import DataError, UsageError
from tempering.data import Dataset
from tempering.poisoning import Overlay, attack_success, stamped, targeted_success


class Corner(nn.Module):
    """Says class 1 where the last pixel is white, else class 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lit = x[:, 0, -1, -1] > 0.9
        return torch.stack([~lit, lit, lit & ~lit], 1).float()


def corner() -> Overlay:
    mask = torch.zeros(8, 8)
    mask[-1, -1] = 1
    return Overlay(torch.ones(1, 8, 8), mask)


def test_only_images_of_other_classes_count(data: Dataset) -> None:
    success = attack_success(Corner(), data, corner(), 1)
    assert (success.hits, success.n) == (80, 80)
    assert 0.95 < success.interval[0] < success.interval[1] == 1
    assert attack_success(Corner(), data, corner(), 2).hits == 0
    assert targeted_success(Corner(), data, 1).hits == 0


def test_the_target_may_be_named(data: Dataset) -> None:
    assert attack_success(Corner(), data, corner(), "dog").hits == 80
    assert targeted_success(Corner(), data, "cat").hits == 120
    with pytest.raises(UsageError, match=r"target 'dgo' is no class .*: did you mean dog\?"):
        stamped(data, corner(), "dgo")


def test_stamped_images_keep_type_label_and_id(data: Dataset) -> None:
    done = stamped(data, corner(), 1)
    assert done.pixels.dtype == torch.uint8
    assert 1 not in done.y
    assert done.ids.names == data.keep(data.y != 1).ids.names
    assert bool((done.pixels[..., -1, -1] == 255).all())


def test_what_cannot_be_measured_is_refused(data: Dataset) -> None:
    with pytest.raises(
        UsageError, match="target 3 is no class of small/train: give a number from 0 to 2"
    ):
        attack_success(Corner(), data, corner(), 3)
    with pytest.raises(DataError, match="all samples of small/train are of class dog, the target"):
        attack_success(Corner(), data.keep(data.y == 1), corner(), 1)
