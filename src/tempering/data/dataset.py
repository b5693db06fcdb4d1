"""Images in [0, 1] with their classes: what every room works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from tempering.core.errors import DataError
from tempering.core.hashing import tensor_hash
from tempering.data.checks import Array
from tempering.data.ids import SampleIds
from tempering.data.raw_splits import RawSamples, validate_arrays


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Labelled images; nothing changes them.

    `Dataset.of` takes arrays from outside and checks every value. The plain
    constructor trusts the values and checks types and shapes alone.

    Attributes:
        x: Images, shape (n, c, h, w), float32 in [0, 1], on the CPU.
        y: Classes, shape (n,), int64.
        classes: Names of the classes, at least as many as labels use.
        name: What it is, such as `mnist/test`.
        ids: Which file or row of the source each sample is; by default its row number. Random
            draws depend on it, not on the position. No id occurs twice.

    Raises:
        DataError: If types, shapes or lengths do not fit, or an id occurs twice.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    name: str
    ids: SampleIds = field(default_factory=lambda: SampleIds.rows(0))

    def __post_init__(self) -> None:
        if self.x.dtype != torch.float32 or self.x.ndim != 4:
            raise DataError(
                f"{self.name}: images of type {self.x.dtype} and shape {tuple(self.x.shape)}: "
                "give float32 of shape (n, channels, height, width), or use Dataset.of"
            )
        if self.y.dtype != torch.int64 or self.y.shape != (len(self.x),):
            raise DataError(
                f"{self.name}: labels of type {self.y.dtype} and shape {tuple(self.y.shape)}: "
                f"give int64 of shape ({len(self.x)},), or use Dataset.of"
            )
        if len(self.ids) == 0:
            object.__setattr__(self, "ids", SampleIds.rows(len(self.x)))
        if len(self.ids) != len(self.x):
            raise DataError(
                f"{self.name}: {len(self.ids)} ids for {len(self.x)} images: give one an image"
            )
        self.ids.require_unique(self.name)

    @classmethod
    def of(
        cls,
        x: Array,
        y: Array,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
        ids: Sequence[str] | None = None,
    ) -> Dataset:
        """Make a dataset from arrays, after checking them; it keeps a copy.

        Args:
            x: Images, a numpy array or tensor, shape (n, h, w) or (n, c, h, w), uint8 in
                0..255 or float in [0, 1].
            y: Classes, integers counted from 0, shape (n,).
            classes: Names of the classes; None counts them from the labels.
            name: What it is, for messages and records.
            ids: One name a sample, each different; None numbers the rows.

        Returns:
            The dataset.

        Raises:
            DataError: Names what is wrong, its index and its value.

        Example:
            >>> Dataset.of(torch.rand(4, 8, 8), torch.tensor([0, 1, 1, 0])).shape
            (1, 8, 8)
        """
        held = validate_arrays(name, (x, y), classes=classes)
        named = held.train.ids if ids is None else SampleIds.of(ids)
        return cls(held.train.images(), held.train.y, held.classes, name, named)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.x.shape
        return channels, height, width

    @cached_property
    def content_hash(self) -> str:
        """A hash of images and labels, 16 hexadecimal digits; ids are hashed in `ids.hash`."""
        return tensor_hash({"x": self.x, "y": self.y})

    @property
    def samples(self) -> RawSamples:
        """Images, labels and ids without the names of the classes."""
        return RawSamples(self.x, self.y, self.ids)

    def subset(self, rows: Tensor) -> Dataset:
        """Some of the samples, with their ids.

        Args:
            rows: Their indices in the order wanted, shape (k,), int64, none twice.
        """
        return Dataset(self.x[rows], self.y[rows], self.classes, self.name, self.ids[rows])

    def keep(self, mask: Tensor) -> Dataset:
        """The samples for which a mask is true, in their order, with their ids.

        Args:
            mask: Shape (n,), bool.

        Raises:
            DataError: If the mask has another type or length.

        Example:
            >>> data = Dataset.of(torch.rand(3, 8, 8), torch.tensor([0, 1, 1]))
            >>> data.keep(data.y == 1).ids.names
            ('1', '2')
        """
        if mask.dtype != torch.bool or mask.shape != (len(self),):
            raise DataError(
                f"a mask of type {mask.dtype} and shape {tuple(mask.shape)} for {self.name}: "
                f"give bool of shape ({len(self)},)"
            )
        return self.subset(mask.nonzero()[:, 0])

    def first(self, n: int) -> Dataset:
        """The first n samples, or all if there are fewer.

        Raises:
            DataError: If n is not at least 1.
        """
        if n < 1:
            raise DataError(f"the first {n} images of {self.name}: give at least 1")
        return self if n >= len(self) else self.subset(torch.arange(n))

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        size = "x".join(str(side) for side in self.shape)
        return f"Dataset({self.name}: {len(self)} images {size}, {self.num_classes} classes)"
