"""Training, validation and test data that belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from tempering.core.errors import DataError, UnknownNameError, UsageError
from tempering.core.hashing import tensor_hash
from tempering.core.random import derive, permutation
from tempering.data.dataset import Dataset
from tempering.data.raw_splits import RawSamples, RawSplits
from tempering.data.stratify import stratified

SPLITS = {
    "official": "the source's own train and test; stratified where it has no test",
    "paper": "everything merged, then 80 % train and 20 % test, stratified and seeded",
    "stratified": "the same under its plain name",
}
"""Name -> what it means."""

TEST_SHARE = 0.2
VALIDATION_SHARE, VALIDATION_MOST = 0.1, 5000
"""Share of the training data that is held back for validation by default, and its limit."""


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """Three datasets of one kind: same classes, same shape, no sample id in two of them.

    Attributes:
        address: Where the data comes from, such as `mnist` or `npz:faces.npz`.
        split: How it was split, a name in `SPLITS`.
        train: What models learn from.
        validation: What rounds are judged by; always carved from training data.
        test: What is reported.
        dropped: Training samples that a keep mask has taken out.

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
                    f"{data.name} is empty: give more images, at least a handful of each class"
                )
            if data.shape != self.train.shape or data.classes != self.train.classes:
                raise DataError(
                    f"{data.name} has images {data.shape} and {data.num_classes} classes: give it "
                    f"those of {self.train.name}, {self.train.shape} and {self.train.num_classes}"
                )
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
        """Split datasets made from arrays.

        Args:
            train: Training data, or all data where `test` is None.
            test: Test data; None takes a stratified 20 % of `train`. Where both have the same
                ids, such as row numbers, `train/` and `test/` are put before all of them.
            seed: Key of what is drawn.
            validation_share: Share of the training data held back for validation, in
                (0, 1); None takes 10 %, at most 5,000 images.
            address: What records call the data.

        Raises:
            DataError: If the two do not fit together or are too small.
            UsageError: If the share is none.

        Example:
            >>> data = Dataset.of(torch.rand(100, 8, 8), torch.arange(100) % 2)
            >>> splits = Splits.of(data)
            >>> len(splits.train), len(splits.validation), len(splits.test)
            (72, 8, 20)
        """
        if test is not None and (test.shape, test.classes) != (train.shape, train.classes):
            raise DataError(
                f"{test.name} has images {test.shape} and {test.num_classes} classes: give it "
                f"those of {train.name}, {train.shape} and {train.num_classes}"
            )
        samples, tested = train.samples, None if test is None else test.samples
        if tested is not None and set(samples.ids.names) & set(tested.ids.names):
            samples = replace(samples, ids=samples.ids.under("train/"))
            tested = replace(tested, ids=tested.ids.under("test/"))
        held = RawSplits(train.classes, samples, tested)
        return make_splits(held, address, "official", seed, validation_share)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.train.classes

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return self.train.num_classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.train.shape

    @property
    def natural(self) -> bool:
        """Whether these are colour images, whose mirror image means the same."""
        return self.shape[0] == 3

    @property
    def parts(self) -> dict[str, Dataset]:
        """The three datasets by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @cached_property
    def data_hash(self) -> str:
        """A hash of all three datasets, 16 hexadecimal digits.

        Where a keep mask has dropped samples, the ids of those that are left enter it too.
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
        """The same data with fewer training samples; validation and test stay as they are.

        The result is other data: its `data_hash` differs, and no run that was begun with another
        mask is resumed with it. Draws of the samples that are kept stay as they are.

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
    """Split what a source holds.

    Args:
        held: Checked samples.
        address: Where they come from.
        split: A name in `SPLITS`.
        seed: Key of what is drawn: the test part where it is made here, and validation.
        validation_share: See `Splits.of`.

    Raises:
        UnknownNameError: If there is no such split.
        UsageError: If the share is none.
        DataError: If there are too few samples.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if validation_share is not None and not 0 < validation_share < 1:
        raise UsageError(f"validation share {validation_share}: give one above 0 and below 1")
    if split == "official" and held.test is not None:
        train, test = held.train, held.test
        ids, test_ids = torch.arange(len(train)), _representative(test.y)
    else:
        split = "stratified" if split == "official" else split
        train = test = held.everything
        count = round(len(train) * TEST_SHARE)
        ids, test_ids = stratified(train.y, count, derive(seed, "test"))
    count = _validation_count(len(ids), validation_share)
    rest, validation = stratified(train.y[ids], count, derive(seed, "validation"))

    def dataset(name: str, samples: RawSamples, rows: Tensor) -> Dataset:
        chosen = samples[rows]
        return Dataset(chosen.images(), chosen.y, held.classes, f"{address}/{name}", chosen.ids)

    return Splits(
        address,
        split,
        dataset("train", train, ids[rest]),
        dataset("validation", train, ids[validation]),
        dataset("test", test, test_ids),
    )


def _validation_count(n: int, share: float | None) -> int:
    if share is None:
        return min(VALIDATION_MOST, max(1, round(n * VALIDATION_SHARE)))
    return max(1, round(n * share))


def _representative(y: Tensor) -> Tensor:
    """The source's own order, unless it is sorted by class: then a fixed random one.

    The first n images of a test set stand for all of it; those of a sorted one would
    show a few classes alone.
    """
    is_sorted = bool((y.diff() >= 0).all())
    return permutation(derive(0, "order"), len(y)) if is_sorted else torch.arange(len(y))
