from __future__ import annotations

import pytest
import torch

from tempering.core.errors import DataError, UsageError
from tempering.data import (
    adversarial_labels,
    explicit_channel,
    min_max_normalize,
    one_hot,
    soft_labels,
)

Y = torch.tensor([2, 0, 9])


def test_min_max_of_bytes_is_a_division_by_255() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(min_max_normalize(levels), levels.float() / 255)


def test_min_max_reaches_both_ends() -> None:
    x = torch.tensor([-3.0, 1.0, 5.0])
    assert min_max_normalize(x).tolist() == [0.0, 0.5, 1.0]


def test_min_max_of_test_data_uses_the_training_bounds() -> None:
    assert min_max_normalize(torch.tensor([2.0, 4.0]), low=0, high=8).tolist() == [0.25, 0.5]
    with pytest.raises(DataError, match="from 2 to 9 are outside 0 to 8"):
        min_max_normalize(torch.tensor([2.0, 9.0]), low=0, high=8)


@pytest.mark.parametrize(
    "values", [[], [3.0, 3.0], [0.0, float("nan")], [0.0, float("inf")], [-float("inf"), 0.0]]
)
def test_min_max_refuses_what_has_no_range(values: list[float]) -> None:
    with pytest.raises(DataError):
        min_max_normalize(torch.tensor(values))


def test_grey_images_get_a_channel() -> None:
    x = torch.rand(2, 3, 4)
    assert torch.equal(explicit_channel(x)[:, 0], x)
    assert explicit_channel(x[None]).shape == (1, 2, 3, 4)


def test_one_hot_is_one_at_the_class_alone() -> None:
    labels = one_hot(Y, 11)
    assert labels.dtype == torch.float32
    assert torch.equal(labels.argmax(1), Y)
    assert torch.equal(labels.sum(1), torch.ones(3))
    assert sorted(set(labels.flatten().tolist())) == [0.0, 1.0]


def test_smoothing_spreads_over_the_classes_and_spares_the_flag() -> None:
    labels = soft_labels(Y, outputs=11, classes=10, smoothing=0.1)
    expected = torch.full((3, 11), 0.01)
    expected[:, 10] = 0.0
    expected[torch.arange(3), Y] = 0.91
    torch.testing.assert_close(labels, expected)


def test_without_smoothing_labels_are_one_hot() -> None:
    assert torch.equal(soft_labels(Y, 11, 10, 0.0), one_hot(Y, 11))


def test_adversarial_labels_share_between_truth_and_flag() -> None:
    lam = torch.tensor([0.0, 0.25, 1.0])
    labels = adversarial_labels(Y, 11, flag=10, lam=lam)
    expected = torch.zeros(3, 11)
    expected[0, 2] = 1.0
    expected[1, 0], expected[1, 10] = 0.75, 0.25
    expected[2, 10] = 1.0
    assert torch.equal(labels, expected)


def test_a_true_class_that_is_the_flag_keeps_its_whole_label() -> None:
    labels = adversarial_labels(torch.tensor([1]), 2, flag=1, lam=torch.tensor([0.3]))
    assert labels.tolist() == [[0.0, 1.0]]


def test_impossible_labels_are_refused() -> None:
    with pytest.raises(UsageError, match="12 classes for 11 outputs"):
        soft_labels(Y, 11, 12, 0.1)
    with pytest.raises(UsageError, match=r"smoothing 1\.0"):
        soft_labels(Y, 11, 10, 1.0)
    with pytest.raises(UsageError, match="adversarial class 11 of 11 outputs"):
        adversarial_labels(Y, 11, 11, torch.zeros(3))
