"""Images that occur more than once: duplicates, leaks and contradictions."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tempering.data.dataset import Dataset
from tempering.data.splits import Splits


class Place(BaseModel):
    """Where an image is.

    Attributes:
        split: `train`, `validation` or `test`.
        index: Its index in the split.
        label: Its class there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str
    index: int
    label: int


class Repeat(BaseModel):
    """Two equal images.

    Attributes:
        first: The earlier one; training comes before validation, validation before test.
        second: The later one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: Place
    second: Place

    @property
    def kind(self) -> Literal["duplicate", "leak"]:
        """A duplicate lies within one split, a leak in two."""
        return "duplicate" if self.first.split == self.second.split else "leak"

    @property
    def contradicts(self) -> bool:
        """Whether the two have different labels."""
        return self.first.label != self.second.label

    def __str__(self) -> str:
        one, two = self.first, self.second
        labels = f" (labels {one.label} and {two.label})" if self.contradicts else ""
        return f"{one.split} {one.index} = {two.split} {two.index}{labels}"


def find_repeats(splits: Splits) -> tuple[Repeat, ...]:
    """All images that occur again, by a hash of their bytes.

    Each image after the first of its kind in a split is one duplicate, paired with that
    first one; each image that also occurs in an earlier split is one leak for each such
    split, paired with the first one there. So there are never more pairs than a few an
    image, even if all images are equal.

    Args:
        splits: The data.

    Returns:
        The pairs, in the order of their second image.
    """
    firsts: dict[bytes, list[tuple[str, int, int]]] = {}
    repeats: list[Repeat] = []
    for split, data in splits.parts.items():
        labels = data.y.tolist()
        for index, digest in enumerate(_digests(data)):
            here = (split, index, labels[index])
            seen = firsts.setdefault(digest, [])
            repeats.extend(Repeat(first=_place(*it), second=_place(*here)) for it in seen)
            if not seen or seen[-1][0] != split:
                seen.append(here)
    return tuple(repeats)


def _place(split: str, index: int, label: int) -> Place:
    return Place(split=split, index=index, label=label)


def _digests(data: Dataset) -> list[bytes]:
    images = data.x.contiguous().flatten(1).numpy()
    return [hashlib.blake2b(image, digest_size=16).digest() for image in images]
