"""Statistics and findings of a dataset: `temper data inspect`."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tempering.core.files import write_with
from tempering.data.checks import check_range, check_within, unit_range
from tempering.data.dataset import Dataset
from tempering.data.duplicates import DuplicatePair, find_duplicates
from tempering.data.splits import Splits
from tempering.data.thumbnails import contact_sheet


class SplitStatistics(BaseModel):
    """Statistics of one split.

    Attributes:
        n: Images.
        per_class: Class name -> number of images.
        minimum: Smallest pixel value.
        maximum: Largest pixel value.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        content_hash: Hash of images and labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    per_class: dict[str, int]
    minimum: float
    maximum: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    content_hash: str

    @property
    def imbalance(self) -> float:
        """Size of the largest class over the smallest; infinite if a class has no image."""
        smallest = min(self.per_class.values())
        return max(self.per_class.values()) / smallest if smallest else float("inf")


class Inspection(BaseModel):
    """Result of an inspection; `model_dump_json()` contains all but the picture.

    Attributes:
        address: Address of the data.
        split: How it was split.
        data_hash: Hash of all three splits.
        shape: Channels, height and width.
        classes: Class names.
        parts: Statistics of `train`, `validation` and `test`.
        duplicates: Equal images within a split.
        leaks: Equal images in two splits.
        contradictions: Duplicates and leaks whose labels differ.
        missing: Classes without an image, as `split: class`.
        picture: A few training samples of each class, content of a PNG file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    split: str
    data_hash: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    parts: dict[str, SplitStatistics]
    duplicates: tuple[DuplicatePair, ...]
    leaks: tuple[DuplicatePair, ...]
    contradictions: tuple[DuplicatePair, ...]
    missing: tuple[str, ...]
    picture: bytes = Field(exclude=True, repr=False)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.duplicates or self.leaks or self.missing)

    def save_picture(self, path: Path) -> None:
        """Write the picture as a PNG file.

        Raises:
            RunError: If the file cannot be written.
        """
        write_with(path, lambda temporary: temporary.write_bytes(self.picture))


def inspect(splits: Splits) -> Inspection:
    """Compute statistics of data, and find duplicates, leaks and classes without images.

    Args:
        splits: The data.

    Returns:
        Statistics, findings and a picture. Duplicate images are findings, not errors.

    Raises:
        DataError: If a value is not finite or not in [0, 1], or a label is not a class index.

    Example:
        >>> from tempering.data import load
        >>> inspection = inspect(load("mnist"))
        >>> inspection.parts["test"].n, len(inspection.leaks)
        (10000, 0)
    """
    parts = {name: _part(data) for name, data in splits.parts.items()}
    pairs = find_duplicates(splits)
    return Inspection(
        address=splits.address,
        split=splits.split,
        data_hash=splits.data_hash,
        shape=splits.shape,
        classes=splits.classes,
        parts=parts,
        duplicates=tuple(pair for pair in pairs if pair.kind == "duplicate"),
        leaks=tuple(pair for pair in pairs if pair.kind == "leak"),
        contradictions=tuple(pair for pair in pairs if pair.contradicts),
        missing=tuple(
            f"{part}: {name}"
            for part, numbers in parts.items()
            for name, count in numbers.per_class.items()
            if count == 0
        ),
        picture=contact_sheet(splits.train),
    )


def _part(data: Dataset) -> SplitStatistics:
    if data.pixels.is_floating_point():
        check_range(data.pixels, data.name)
    check_within(data.y, data.classes, data.name)
    low, high = data.pixels.aminmax()
    std, mean = _spread(data)
    counts = torch.bincount(data.y, minlength=data.num_classes).tolist()
    return SplitStatistics(
        n=len(data),
        per_class=dict(zip(data.classes, counts, strict=True)),
        minimum=float(unit_range(low)),
        maximum=float(unit_range(high)),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        content_hash=data.content_hash,
    )


def _spread(data: Dataset) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of each channel."""
    pixels = data.pixels.numel() // data.shape[0]
    channels = (0, 2, 3)
    mean = torch.stack([x.double().sum(channels) for x in data.chunks()]).sum(0) / pixels
    centre = mean[:, None, None]
    squares = [(x.double() - centre).square().sum(channels) for x in data.chunks()]
    return (torch.stack(squares).sum(0) / pixels).sqrt(), mean
