"""Splits of data into training, validation and test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real

import torch
from torch import Tensor

from tempering.core.errors import DataError, UnknownNameError, UsageError
from tempering.core.hashing import tensor_hash
from tempering.core.random import derive, permutation
from tempering.data.dataset import Dataset
from tempering.data.raw_splits import RawSamples, RawSplits, joined
from tempering.data.stratify import stratified

SPLITS = {
    "official": "the source's own train and test; stratified if it has no test",
    "paper": "all samples merged, then 80 % train and 20 % test, stratified and seeded",
    "stratified": "the same as paper",
}
"""Name -> description."""

TEST_SHARE = 0.2
VALIDATION_SHARE, VALIDATION_MOST = 0.1, 5000
"""Share of the training data held back for validation by default, and its limit."""


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """Training, validation and test data with equal classes and shapes and disjoint ids.

    Attributes:
        address: Address of the data, such as `mnist` or `npz:faces.npz`.
        split: How it was split, a name in `SPLITS`.
        train: Training data.
        validation: Held back from the training data; selects rounds and stops training.
        test: Data for the reported figures.
        dropped: Number of training samples that keep masks removed.

    Raises:
        DataError: If one is empty, classes or shapes differ, or an id occurs twice.
    """

    address: str
    split: str
    train: Dataset
    validation: Dataset
    test: Dataset
    dropped: int = 0

    def __post_init__(self) -> None:
        for data in (self.train, self.validation, self.test):
            if len(data) == 0:
                raise DataError(
                    f"{data.name} is empty: give more images, at least several per class"
                )
            _require_alike(data, self.train)
        ids = self.train.ids + self.validation.ids + self.test.ids
        ids.require_unique(f"{self.address}: train, validation and test together")

    @classmethod
    def of(
        cls,
        train: Dataset,
        test: Dataset | None = None,
        *,
        seed: int = 0,
        validation_share: float | None = None,
        address: str = "arrays",
    ) -> Splits:
        """Split one or two datasets.

        Args:
            train: Training data, or all data if `test` is None.
            test: Test data; None takes a stratified 20 % of `train`. If both contain the same
                id, such as a row number, all ids get the prefix `train/` or `test/`.
            seed: Seed of the random splits.
            validation_share: Share of the training data held back for validation, in
                (0, 1); None takes 10 %, at most 5,000 images.
            address: Name of the data in records.

        Raises:
            DataError: If shapes or classes differ, there are too few samples, or one is no
                dataset.
            UsageError: If the share is invalid.

        Example:
            >>> data = Dataset.of(torch.rand(100, 8, 8), torch.arange(100) % 2)
            >>> splits = Splits.of(data)
            >>> len(splits.train), len(splits.validation), len(splits.test)
            (72, 8, 20)
        """
        for given in (train, *([] if test is None else [test])):
            if not isinstance(given, Dataset):
                raise DataError(
                    f"data of type {type(given).__name__}: give Dataset.of(images, labels)"
                )
        if test is not None:
            _require_alike(test, train)
        samples, tested = train.samples, None if test is None else test.samples
        if tested is not None and set(samples.ids.names) & set(tested.ids.names):
            samples = replace(samples, ids=samples.ids.under("train/"))
            tested = replace(tested, ids=tested.ids.under("test/"))
        held = RawSplits(train.classes, samples, tested)
        return make_splits(held, address, "official", seed, validation_share)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.train.classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.train.num_classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.train.shape

    @property
    def natural(self) -> bool:
        """Whether the images are in colour, so that mirroring keeps their meaning."""
        return self.shape[0] == 3

    @property
    def parts(self) -> dict[str, Dataset]:
        """The three datasets by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @cached_property
    def data_hash(self) -> str:
        """Hash of all three datasets, 16 hexadecimal digits.

        If a keep mask dropped samples, it includes the ids of the remaining ones.
        """
        hashes = {name: data.content_hash for name, data in self.parts.items()}
        if self.dropped:
            hashes["kept"] = self.train.ids.hash
        return tensor_hash(
            {
                name: torch.tensor(list(bytes.fromhex(value)), dtype=torch.uint8)
                for name, value in hashes.items()
            }
        )

    def keep(self, kept: Tensor | Iterable[str]) -> Splits:
        """Keep some of the training samples; validation and test data do not change.

        The result has another `data_hash`, so runs with different masks cannot resume each other.
        Random draws of the kept samples do not change.

        Args:
            kept: A mask over the training samples, shape (n,), bool; or the ids to keep.

        Raises:
            DataError: If the mask does not fit, an id is unknown, or nothing is kept.

        Example:
            >>> splits = Splits.of(Dataset.of(torch.rand(100, 8, 8), torch.arange(100) % 2))
            >>> kept = splits.keep(splits.train.y == 0)
            >>> len(kept.train), kept.dropped
            (36, 36)
        """
        if isinstance(kept, Tensor):
            train = self.train.keep(kept)
        else:
            mask = torch.zeros(len(self.train), dtype=torch.bool)
            mask[self.train.ids.rows_of(kept, self.train.name)] = True
            train = self.train.keep(mask)
        if len(train) == 0:
            raise DataError(
                f"the mask drops all {len(self.train)} samples of {self.train.name}: keep some"
            )
        return replace(self, train=train, dropped=self.dropped + len(self.train) - len(train))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(data)}" for name, data in self.parts.items())
        dropped = f"; {self.dropped} training samples dropped" if self.dropped else ""
        return f"Splits({self.address}, {self.split}: {sizes}{dropped})"


def make_splits(
    held: RawSplits, address: str, split: str, seed: int, validation_share: float | None = None
) -> Splits:
    """Split the samples of a source.

    Args:
        held: Validated samples.
        address: Address of the data.
        split: A name in `SPLITS`.
        seed: Seed of the validation split, and of the test split if the source has none.
        validation_share: See `Splits.of`. If it is given, a source's own validation samples join
            the training data before.

    Raises:
        UnknownNameError: If there is no such split.
        UsageError: If the seed or the share is invalid.
        DataError: If there are too few samples.
    """
    if not isinstance(split, str) or split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise UsageError(f"seed {seed!r}: give a whole number")
    if validation_share is not None and not (
        isinstance(validation_share, Real) and 0 < validation_share < 1
    ):
        raise UsageError(f"validation share {validation_share!r}: give one above 0 and below 1")
    if split == "official" and held.test is not None:
        if held.validation is not None and validation_share is None:
            return _own_parts(held, address)
        train, test = joined(held.train, held.validation), held.test
        ids, test_ids = torch.arange(len(train)), _representative(test.y)
    else:
        split = "stratified" if split == "official" else split
        train = test = held.everything
        count = round(len(train) * TEST_SHARE)
        ids, test_ids = stratified(train.y, count, derive(seed, "test"))
    count = _validation_count(len(ids), validation_share)
    rest, validation = stratified(train.y[ids], count, derive(seed, "validation"))
    return Splits(
        address,
        split,
        _dataset(held, f"{address}/train", train[ids[rest]]),
        _dataset(held, f"{address}/validation", train[ids[validation]]),
        _dataset(held, f"{address}/test", test[test_ids]),
    )


def _own_parts(held: RawSplits, address: str) -> Splits:
    """The three parts that a source has itself."""
    validation, test = held.validation, held.test
    assert validation is not None
    assert test is not None
    return Splits(
        address,
        "official",
        _dataset(held, f"{address}/train", held.train),
        _dataset(held, f"{address}/validation", validation[_representative(validation.y)]),
        _dataset(held, f"{address}/test", test[_representative(test.y)]),
    )


def _dataset(held: RawSplits, name: str, samples: RawSamples) -> Dataset:
    return Dataset(samples.x, samples.y, held.classes, name, samples.ids)


def _require_alike(data: Dataset, train: Dataset) -> None:
    if (data.shape, data.classes) != (train.shape, train.classes):
        raise DataError(
            f"{data.name} has images {data.shape} and {data.num_classes} classes: give those of "
            f"{train.name}, {train.shape} and {train.num_classes}"
        )


def _validation_count(n: int, share: float | None) -> int:
    if share is None:
        return min(VALIDATION_MOST, max(1, round(n * VALIDATION_SHARE)))
    return max(1, round(n * share))


def _representative(y: Tensor) -> Tensor:
    """Rows in the source's order, or in a fixed random order if it is class after class.

    The first n test images should represent all classes.
    """
    by_class = int((y.diff() != 0).sum()) == int((torch.bincount(y) > 0).sum()) - 1
    return permutation(derive(0, "order"), len(y)) if by_class else torch.arange(len(y))
