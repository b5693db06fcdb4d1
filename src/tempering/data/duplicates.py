"""Equal images: duplicates within a split, leaks between splits, contradictory labels."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tempering.data.dataset import Dataset
from tempering.data.splits import Splits


class Occurrence(BaseModel):
    """Where an image occurs.

    Attributes:
        split: `train`, `validation` or `test`.
        index: Row in the split.
        id: Source file or row.
        label: Class index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str
    index: int
    id: str
    label: int

    def __str__(self) -> str:
        return f"{self.id} ({self.split})"


class DuplicatePair(BaseModel):
    """Two equal images.

    Attributes:
        first: The earlier image, in the order training, validation, test.
        second: The later image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: Occurrence
    second: Occurrence

    @property
    def kind(self) -> Literal["duplicate", "leak"]:
        """`duplicate` within one split, `leak` across two."""
        return "duplicate" if self.first.split == self.second.split else "leak"

    @property
    def contradicts(self) -> bool:
        """Whether the labels differ."""
        return self.first.label != self.second.label

    def __str__(self) -> str:
        labels = f", labels {self.first.label} and {self.second.label}" if self.contradicts else ""
        return f"{self.first} = {self.second}{labels}"


def find_duplicates(splits: Splits) -> tuple[DuplicatePair, ...]:
    """Find equal images by a hash of their bytes.

    Each image is paired with the first equal one in its own split (a duplicate) and in every
    earlier split (a leak). An image is therefore in at most three pairs as the later one, even
    if all images are equal.

    Args:
        splits: The data.

    Returns:
        The pairs, in the order of their second image.
    """
    firsts: dict[bytes, list[tuple[str, int, str, int]]] = {}
    pairs: list[DuplicatePair] = []
    for split, data in splits.parts.items():
        labels = data.y.tolist()
        for index, digest in enumerate(_digests(data)):
            here = (split, index, data.ids.names[index], labels[index])
            known = firsts.setdefault(digest, [])
            pairs.extend(
                DuplicatePair(first=_occurrence(*earlier), second=_occurrence(*here))
                for earlier in known
            )
            if not known or known[-1][0] != split:
                known.append(here)
    return tuple(pairs)


def _occurrence(split: str, index: int, id_: str, label: int) -> Occurrence:
    return Occurrence(split=split, index=index, id=id_, label=label)


def _digests(data: Dataset) -> list[bytes]:
    return [
        hashlib.blake2b(image, digest_size=16).digest()
        for images in data.chunks()
        for image in images.contiguous().flatten(1).numpy()
    ]
