"""The dataset type: images in [0, 1] with class labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from tempering.core.errors import DataError, UsageError
from tempering.core.hashing import Converted, tensor_hash
from tempering.core.tensors import require_tensors
from tempering.data.checks import Array, own_tensor, unit_range
from tempering.data.ids import SampleIds
from tempering.data.raw_splits import RawSamples, validate_arrays
from tempering.data.stratify import stratified_order

SUBSETS = ("stratified", "first")
"""Which samples are taken where not all are."""

CHUNK = 2**22
"""Values that are converted at once where all are needed one after the other."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """An immutable dataset of labelled images.

    `Dataset.of` validates every value; the constructor validates types, shapes and ids only.
    Images of uint8 stay uint8 in memory; `images` converts those that are asked for.

    Attributes:
        pixels: Images as they are held, shape (n, c, h, w), uint8 in 0..255 or float32 in
            [0, 1], on the CPU.
        y: Class indices, shape (n,), int64.
        classes: Class names, at least as many as the labels use.
        name: Name in messages and records, such as `mnist/test`.
        ids: Source file or row of each sample, unique; by default its row number. Random draws
            depend on the id, not on the position.

    Raises:
        DataError: If types, shapes or lengths do not match, or an id occurs twice.
    """

    pixels: Tensor
    y: Tensor
    classes: tuple[str, ...]
    name: str
    ids: SampleIds = field(default_factory=lambda: SampleIds.rows(0))

    def __post_init__(self) -> None:
        require_tensors(pixels=self.pixels, y=self.y)
        pixels = self.pixels
        if pixels.dtype not in (torch.float32, torch.uint8) or pixels.ndim != 4:
            raise DataError(
                f"{self.name}: images of type {pixels.dtype} and shape {tuple(pixels.shape)}: give "
                "float32 or uint8 of shape (n, channels, height, width), or use Dataset.of"
            )
        if self.y.dtype != torch.int64 or self.y.shape != (len(pixels),):
            raise DataError(
                f"{self.name}: labels of type {self.y.dtype} and shape {tuple(self.y.shape)}: "
                f"give int64 of shape ({len(pixels)},), or use Dataset.of"
            )
        if len(self.ids) == 0:
            object.__setattr__(self, "ids", SampleIds.rows(len(pixels)))
        if len(self.ids) != len(pixels):
            raise DataError(
                f"{self.name}: {len(self.ids)} ids for {len(pixels)} images: give one id per image"
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
        """Validate arrays and copy them into a dataset.

        Args:
            x: Images, a numpy array or tensor, shape (n, h, w) or (n, c, h, w), uint8 in
                0..255 or float in [0, 1].
            y: Class indices, integers from 0, shape (n,).
            classes: Class names; None infers the number of classes from the labels.
            name: Name in messages and records.
            ids: One unique id per sample; None uses row numbers.

        Returns:
            The dataset.

        Raises:
            DataError: If an array is invalid; the message names the index and the value.

        Example:
            >>> Dataset.of(torch.rand(4, 8, 8), torch.tensor([0, 1, 1, 0])).shape
            (1, 8, 8)
        """
        own = (own_tensor(x, f"{name}: images"), own_tensor(y, f"{name}: labels"))
        held = validate_arrays(name, {"train": own}, classes)
        named = held.train.ids if ids is None else SampleIds.of(ids)
        return cls(held.train.x, held.train.y, held.classes, name, named)

    @cached_property
    def x(self) -> Tensor:
        """All images as float32 in [0, 1], shape (n, c, h, w); of uint8, a conversion is kept."""
        return unit_range(self.pixels)

    def images(self, rows: Tensor) -> Tensor:
        """Some images in memory of their own, float32 in [0, 1], shape (k, c, h, w).

        Args:
            rows: Indices, shape (k,), int64.
        """
        return unit_range(self.pixels[rows])

    def chunks(self) -> Iterator[Tensor]:
        """All images, some at a time, each as `images` returns them."""
        size = max(1, CHUNK // math.prod(self.shape))
        for rows in torch.split(torch.arange(len(self)), size):
            yield self.images(rows)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    @cached_property
    def content_hash(self) -> str:
        """A hash of images and labels, 16 hexadecimal digits; ids are hashed in `ids.hash`."""
        return tensor_hash({"x": Converted(self.pixels, unit_range), "y": self.y})

    @property
    def samples(self) -> RawSamples:
        """Images, labels and ids, without class names."""
        return RawSamples(self.pixels, self.y, self.ids)

    def subset(self, rows: Tensor) -> Dataset:
        """A subset of the samples, with their ids.

        Args:
            rows: Unique indices in the order of the result, shape (k,), int64.
        """
        return replace(self, pixels=self.pixels[rows], y=self.y[rows], ids=self.ids[rows])

    def keep(self, mask: Tensor) -> Dataset:
        """The samples where a mask is true, with their ids.

        Args:
            mask: Shape (n,), bool.

        Raises:
            DataError: If the mask has the wrong type or shape.

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

    def take(self, n: int, subset: str = "stratified") -> Dataset:
        """So many samples, or all if there are fewer.

        Args:
            n: At least 1.
            subset: `stratified` for samples drawn by id that have the shares of the classes;
                those of a smaller n are the first ones of a larger n. `first` for the first
                ones of the source.

        Raises:
            UsageError: If the subset is neither.
            DataError: If n is not at least 1.

        Example:
            >>> data = Dataset.of(torch.rand(8, 4, 4), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
            >>> sorted(data.take(2).y.tolist())
            [0, 1]
        """
        rows = self.rows(n, subset)
        return self if subset == "first" and n >= len(self) else self.subset(rows)

    def rows(self, n: int, subset: str = "stratified") -> Tensor:
        """Row numbers of the samples that `take` takes, in its order, shape (n,), int64.

        Raises:
            UsageError: If there is no such subset.
            DataError: If n is not at least 1.
        """
        if subset not in SUBSETS:
            raise UsageError(f"subset {subset!r}: give one of {', '.join(SUBSETS)}")
        if n < 1:
            raise DataError(f"{n} samples of {self.name}: give at least 1")
        if subset == "first":
            return torch.arange(min(n, len(self)))
        return stratified_order(self.y, self.ids.keys, seed=0)[:n]

    def first(self, n: int) -> Dataset:
        """The first n samples, or all if there are fewer.

        Raises:
            DataError: If n is not at least 1.
        """
        return self.take(n, "first")

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        size = "x".join(str(side) for side in self.shape)
        return f"Dataset({self.name}: {len(self)} images {size}, {self.num_classes} classes)"
