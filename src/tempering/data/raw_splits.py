"""Validated images and labels of a source before they are split; bytes stay bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.errors import DataError
from tempering.data.checks import check_within, checked_classes, checked_images, checked_labels
from tempering.data.ids import SampleIds


@dataclass(frozen=True, eq=False)
class RawSamples:
    """Images, their classes and their ids.

    Attributes:
        x: Images, shape (n, c, h, w), uint8 in 0..255 or float32 in [0, 1].
        y: Classes, shape (n,), int64.
        ids: Which file or row of the source each sample is.
    """

    x: Tensor
    y: Tensor
    ids: SampleIds

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Tensor) -> RawSamples:
        return RawSamples(self.x[rows], self.y[rows], self.ids[rows])

    def images(self) -> Tensor:
        """The images as float32 in [0, 1], shape (n, c, h, w)."""
        return self.x.float().div_(255.0) if self.x.dtype == torch.uint8 else self.x


@dataclass(frozen=True, eq=False)
class RawSplits:
    """The validated samples of a source.

    Attributes:
        classes: Names of the classes.
        train: RawSamples to train on; all samples where the source has no test of its own.
        test: The source's own test samples, or None.
    """

    classes: tuple[str, ...]
    train: RawSamples
    test: RawSamples | None = None

    @property
    def everything(self) -> RawSamples:
        """Training and test samples together, in this order."""
        if self.test is None:
            return self.train
        train, test = self.train, self.test
        images = (train.x, test.x)
        if train.x.dtype != test.x.dtype:
            images = (train.images(), test.images())
        return RawSamples(torch.cat(images), torch.cat([train.y, test.y]), train.ids + test.ids)


def validate_arrays(
    where: str,
    train: tuple[object, object],
    test: tuple[object, object] | None = None,
    classes: Sequence[str] | None = None,
    ids: tuple[Sequence[str], Sequence[str]] | None = None,
) -> RawSplits:
    """Check images and labels from outside.

    Args:
        where: Where it comes from, for messages.
        train: Images and labels, see `checks.checked_images` and `checked_labels`.
        test: The same for the source's own test, if it has one.
        classes: Names of the classes; None counts them from the labels.
        ids: Of the training and of the test samples; None numbers the rows, with `train/` and
            `test/` before the number where there is a test.

    Raises:
        DataError: Names what is wrong, its index and its value.
    """
    parts = [(where, *train)] if test is None else [(f"{where}/train", *train)]
    if test is not None:
        parts.append((f"{where}/test", *test))
    prefixes = ("",) if test is None else ("train/", "test/")
    samples = []
    for at, (name, x, y) in enumerate(parts):
        images = checked_images(x, name)
        labels = checked_labels(y, len(images), name)
        own = SampleIds.rows(len(images), prefixes[at]) if ids is None else SampleIds.of(ids[at])
        samples.append(RawSamples(images, labels, own))
    names = checked_classes(classes, torch.cat([part.y for part in samples]), where)
    for (name, *_), part in zip(parts, samples, strict=True):
        check_within(part.y, names, name)
        if part.x.shape[1:] != samples[0].x.shape[1:]:
            raise DataError(
                f"{name}: images of shape {tuple(part.x.shape[1:])}: give them the shape of "
                f"the training images, {tuple(samples[0].x.shape[1:])}"
            )
    return RawSplits(names, samples[0], samples[1] if test is not None else None)
