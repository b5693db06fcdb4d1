"""Validated samples of a source before they are split; uint8 images stay uint8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tempering.core.errors import DataError
from tempering.data.checks import (
    check_within,
    checked_classes,
    checked_images,
    checked_labels,
    unit_range,
)
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


@dataclass(frozen=True, eq=False)
class RawSplits:
    """The validated samples of a source.

    Attributes:
        classes: Class names.
        train: Training samples; all samples if the source has no test split.
        test: Test samples of the source, or None.
        validation: Validation samples of the source, or None.
    """

    classes: tuple[str, ...]
    train: RawSamples
    test: RawSamples | None = None
    validation: RawSamples | None = None

    @property
    def everything(self) -> RawSamples:
        """Training samples, followed by validation and test samples."""
        return joined(self.train, self.validation, self.test)


def joined(*parts: RawSamples | None) -> RawSamples:
    """The samples of several parts, one after the other; None is left out."""
    held = [part for part in parts if part is not None]
    if len(held) == 1:
        return held[0]
    alike = len({part.x.dtype for part in held}) == 1
    images = [part.x if alike else unit_range(part.x) for part in held]
    ids = held[0].ids
    for part in held[1:]:
        ids = ids + part.ids
    return RawSamples(torch.cat(images), torch.cat([part.y for part in held]), ids)


def validate_arrays(
    where: str,
    parts: Mapping[Any, tuple[object, object]],
    classes: Sequence[str] | None = None,
    ids: Mapping[Any, Sequence[str]] | None = None,
) -> RawSplits:
    """Validate the images and labels of a source.

    Args:
        where: Name of the source, for messages.
        parts: Images and labels of `train`, and of `test` and `validation` where there are some,
            see `checks.checked_images` and `checked_labels`.
        classes: Class names; None infers the number of classes from the labels.
        ids: Of the samples of each part; None uses row numbers, with prefixes such as `train/`
            if there are several parts.

    Raises:
        DataError: If an array is invalid; the message names the index and the value. If parts
            share an id.
    """
    alone = len(parts) == 1
    samples: dict[str, RawSamples] = {}
    for role, (x, y) in parts.items():
        name = where if alone else f"{where}/{role}"
        images = checked_images(x, name)
        labels = checked_labels(y, len(images), name)
        prefix = "" if alone else f"{role}/"
        own = SampleIds.rows(len(images), prefix) if ids is None else SampleIds.of(ids[role])
        samples[role] = RawSamples(images, labels, own)
    names = checked_classes(classes, torch.cat([part.y for part in samples.values()]), where)
    shape = tuple(samples["train"].x.shape[1:])
    for role, part in samples.items():
        name = where if alone else f"{where}/{role}"
        check_within(part.y, names, name)
        if tuple(part.x.shape[1:]) != shape:
            raise DataError(
                f"{name}: images of shape {tuple(part.x.shape[1:])}: give the shape of "
                f"the training images, {shape}"
            )
    held = RawSplits(names, samples["train"], samples.get("test"), samples.get("validation"))
    everyone = samples["train"].ids
    for role in ("validation", "test"):
        if role in samples:
            everyone = everyone + samples[role].ids
    everyone.require_unique(f"{where}: all parts together")
    return held
