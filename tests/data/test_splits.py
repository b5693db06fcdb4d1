from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tempering.core.errors import DataError, UnknownNameError, UsageError
from tempering.data import Dataset, Splits, load
from tempering.data.ids import SampleIds
from tempering.data.raw_splits import RawSamples, RawSplits, validate_arrays
from tempering.data.splits import make_splits


def shares(y: Tensor) -> Tensor:
    return torch.bincount(y, minlength=10) / len(y)


def keys(*parts: Dataset) -> list[bytes]:
    return [image.numpy().tobytes() for part in parts for image in part.x]


def test_official_mnist_is_the_published_one(mnist: Splits, published: RawSplits) -> None:
    assert [len(part) for part in mnist.parts.values()] == [55_000, 5_000, 10_000]
    assert published.test is not None
    assert torch.equal(mnist.test.x[:100], published.test.x[:100].float() / 255)
    assert torch.equal(mnist.test.y, published.test.y)
    assert mnist.test.y[:5].tolist() == [7, 2, 1, 0, 4]


def test_validation_is_carved_from_training_data_alone(mnist: Splits, published: RawSplits) -> None:
    sums = (mnist.train.x.double().sum() + mnist.validation.x.double().sum()) * 255
    assert float(sums) == pytest.approx(float(published.train.x.sum()), rel=1e-6)
    counts = torch.bincount(mnist.train.y) + torch.bincount(mnist.validation.y)
    assert torch.equal(counts, torch.bincount(published.train.y))
    assert not set(keys(mnist.validation)) & set(keys(mnist.test))


def test_validation_is_stratified(mnist: Splits, published: RawSplits) -> None:
    away = torch.bincount(mnist.validation.y) - 5_000 * shares(published.train.y)
    assert float(away.abs().max()) < 1


def test_the_paper_split_merges_and_takes_a_fifth() -> None:
    splits = load("mnist", "paper")
    assert len(splits.train) + len(splits.validation) == 56_000
    assert len(splits.test) == 14_000
    assert splits.split == "paper"
    every = torch.cat([part.y for part in splits.parts.values()])
    assert float((torch.bincount(splits.test.y) - 14_000 * shares(every)).abs().max()) < 1


def test_a_source_without_a_test_is_split_and_says_so(small: Splits) -> None:
    assert small.split == "stratified"
    assert [len(part) for part in small.parts.values()] == [43, 5, 12]
    assert torch.bincount(small.test.y).tolist() == [4, 4, 4]


def test_parts_are_disjoint_and_complete(small: Splits) -> None:
    drawn = keys(*small.parts.values())
    assert len(drawn) == len(set(drawn)) == 60


def test_the_recorded_name_gives_the_same_split_again() -> None:
    first = load("digits")
    assert first.split == "stratified"
    assert load("digits", first.split).data_hash == first.data_hash
    assert load("digits", "paper").data_hash == first.data_hash


def test_the_seed_decides_what_is_drawn() -> None:
    first, again, other = (load("digits", seed=seed) for seed in (0, 0, 1))
    assert first.data_hash == again.data_hash
    for part in ("train", "validation", "test"):
        assert first.parts[part].content_hash != other.parts[part].content_hash


def test_an_official_test_does_not_depend_on_the_seed(mnist: Splits) -> None:
    other = load("mnist", seed=1, validation_share=0.5)
    assert torch.equal(other.test.y, mnist.test.y)
    assert len(other.validation) == len(other.train) == 30_000


def test_the_seed_draws_the_validation_samples_beside_an_official_test() -> None:
    x, y = torch.rand(60, 1, 2, 2), torch.arange(60) % 2
    first, again, other = (
        Splits.of(Dataset.of(x[:50], y[:50]), Dataset.of(x[50:], y[50:]), seed=seed)
        for seed in (0, 0, 1)
    )
    assert first.validation.ids.names == again.validation.ids.names
    assert set(first.validation.ids.names) != set(other.validation.ids.names)
    assert first.test.ids.names == other.test.ids.names


def test_a_test_that_is_sorted_by_class_is_mixed() -> None:
    x, y = torch.rand(200, 1, 2, 2), torch.arange(200) // 100
    train, test = (RawSamples(x, y, SampleIds.rows(200, name)) for name in ("train/", "test/"))
    splits = make_splits(RawSplits(("a", "b"), train, test), "sorted", "official", seed=0)
    assert 5 < int(splits.test.y[:30].sum()) < 25
    assert sorted(splits.test.y.tolist()) == y.tolist()


def test_arrays_with_a_test_of_their_own_keep_it() -> None:
    train = Dataset.of(torch.rand(50, 2, 2), torch.arange(50) % 2, name="a")
    test = Dataset.of(torch.rand(9, 2, 2), torch.arange(9) % 2, name="b")
    splits = Splits.of(train, test)
    assert splits.split == "official"
    assert torch.equal(splits.test.x, test.x)
    assert len(splits.train) == 45


def test_a_test_of_another_shape_is_refused() -> None:
    train = Dataset.of(torch.rand(50, 2, 2), torch.arange(50) % 2, name="a")
    with pytest.raises(DataError, match=r"^b has images \(1, 2, 3\)"):
        Splits.of(train, Dataset.of(torch.rand(9, 2, 3), torch.arange(9) % 2, name="b"))
    with pytest.raises(DataError, match=r"^b has .* 3 classes"):
        Splits.of(train, Dataset.of(torch.rand(9, 2, 2), torch.arange(9) % 3, name="b"))


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="is empty"):
        Splits.of(Dataset.of(torch.rand(2, 2, 2), torch.tensor([0, 1])))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_validation_share_must_be_one(share: float) -> None:
    with pytest.raises(UsageError, match="validation share"):
        load("digits", validation_share=share)


def test_an_unknown_split_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean official"):
        load("digits", "offical")


def test_only_colour_images_are_natural(small: Splits) -> None:
    assert not small.natural
    colour = Dataset.of(torch.rand(30, 3, 2, 2), torch.arange(30) % 2)
    assert Splits.of(colour).natural


def test_parts_in_class_order_are_mixed_so_that_the_first_samples_are_of_all_classes() -> None:
    y = torch.tensor([2, 0, 1]).repeat_interleave(10)

    def part(first: int) -> tuple[torch.Tensor, torch.Tensor]:
        return (first + torch.arange(30))[:, None, None] / 100 * torch.ones(30, 4, 4), y

    held = validate_arrays("x", {"train": part(0), "validation": part(30), "test": part(60)})
    splits = make_splits(held, "x", "official", seed=0)
    for data in (splits.validation, splits.test):
        assert set(data.y[:12].tolist()) == {0, 1, 2}
