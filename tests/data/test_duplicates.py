from __future__ import annotations

import pytest
import torch

from tempering.data import Dataset, Splits, find_duplicates
from tempering.data.ids import SampleIds

Labels = dict[str, list[int]]


def splits(
    train: list[int], validation: list[int], test: list[int], labels: Labels | None = None
) -> Splits:
    """Images told apart by a level; the label is 0 unless given."""

    def part(name: str, levels: list[int]) -> Dataset:
        x = torch.tensor(levels)[:, None, None, None].expand(-1, 1, 2, 2) / 100
        y = torch.tensor((labels or {}).get(name, [0] * len(levels)))
        return Dataset(x, y, ("a", "b", "c"), name, SampleIds.rows(len(x), f"{name}/"))

    parts = part("train", train), part("validation", validation), part("test", test)
    return Splits("planted", "official", *parts)


def found(data: Splits) -> list[str]:
    return [str(pair) for pair in find_duplicates(data)]


def test_nothing_is_found_where_all_differ(small: Splits) -> None:
    assert find_duplicates(small) == ()


def test_duplicates_are_paired_with_the_first() -> None:
    data = splits([1, 2, 1, 3, 1], [4], [5])
    assert found(data) == ["train/0 (train) = train/2 (train)", "train/0 (train) = train/4 (train)"]
    assert {pair.kind for pair in find_duplicates(data)} == {"duplicate"}


def test_leaks_are_paired_with_the_first_in_each_earlier_split() -> None:
    data = splits([1, 2], [3, 2], [9, 2, 3])
    assert found(data) == [
        "train/1 (train) = validation/1 (validation)",
        "train/1 (train) = test/1 (test)",
        "validation/1 (validation) = test/1 (test)",
        "validation/0 (validation) = test/2 (test)",
    ]
    assert {pair.kind for pair in find_duplicates(data)} == {"leak"}


def test_a_leak_that_repeats_within_its_split_is_both() -> None:
    kinds = [pair.kind for pair in find_duplicates(splits([7], [1], [7, 7]))]
    assert kinds == ["leak", "leak", "duplicate"]


def test_contradictory_labels_are_told() -> None:
    data = splits([1, 1, 2], [3], [1, 2], {"train": [0, 2, 1], "test": [0, 1]})
    pairs = {str(pair): pair.contradicts for pair in find_duplicates(data)}
    assert pairs == {
        "train/0 (train) = train/1 (train), labels 0 and 2": True,
        "train/0 (train) = test/0 (test)": False,
        "train/2 (train) = test/1 (test)": False,
    }


def test_pairs_do_not_grow_with_the_square() -> None:
    assert len(find_duplicates(splits([1] * 500, [2], [3]))) == 499


@pytest.mark.parametrize("step", [1e-7, 1e-3])
def test_images_that_almost_agree_are_different(step: float) -> None:
    x = torch.full((2, 1, 3, 3), 0.5)
    x[1, 0, 2, 2] += step
    train, validation, test = (
        Dataset(x * scale, torch.tensor([0, 1]), ("a", "b"), name, SampleIds.rows(2, f"{name}/"))
        for name, scale in (("train", 1.0), ("validation", 0.5), ("test", 0.3))
    )
    assert find_duplicates(Splits("close", "official", train, validation, test)) == ()
