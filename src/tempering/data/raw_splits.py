"""Validated samples of a source before they are split; uint8 images stay uint8."""

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
    """Images with labels and ids.

    Attributes:
        x: Images, shape (n, c, h, w), uint8 in 0..255 or float32 in [0, 1].
        y: Class indices, shape (n,), int64.
        ids: Source file or row of each sample.
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
        classes: Class names.
        train: Training samples; all samples if the source has no test split.
        test: Test samples of the source, or None.
    """

    classes: tuple[str, ...]
    train: RawSamples
    test: RawSamples | None = None

    @property
    def everything(self) -> RawSamples:
        """Training samples followed by test samples."""
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
    """Validate the images and labels of a source.

    Args:
        where: Name of the source, for messages.
        train: Images and labels, see `checks.checked_images` and `checked_labels`.
        test: Images and labels of the test split, if there is one.
        classes: Class names; None infers the number of classes from the labels.
        ids: Of training and test samples; None uses row numbers, with the prefixes `train/` and
            `test/` if there is a test split.

    Raises:
        DataError: If an array is invalid; the message names the index and the value.
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
                f"{name}: images of shape {tuple(part.x.shape[1:])}: give the shape of "
                f"the training images, {tuple(samples[0].x.shape[1:])}"
            )
    return RawSplits(names, samples[0], samples[1] if test is not None else None)
