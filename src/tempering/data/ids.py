"""Stable ids of samples: the source file or row of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tempering.core.errors import DataError
from tempering.core.hashing import tensor_hash
from tempering.core.random import sample_keys


@dataclass(frozen=True, eq=False)
class SampleIds:
    """Ids of samples, and the keys of their random streams.

    Attributes:
        names: One id per sample, such as `train/123` or `cats/tom.png`.
        keys: A 63-bit hash of each id, shape (n,), int64; see `sample_keys`.

    Example:
        >>> SampleIds.rows(3, "test/").names
        ('test/0', 'test/1', 'test/2')
    """

    names: tuple[str, ...]
    keys: Tensor

    @classmethod
    def of(cls, names: Iterable[str]) -> SampleIds:
        """Ids with their keys."""
        held = tuple(names)
        return cls(held, sample_keys(held))

    @classmethod
    def rows(cls, n: int, prefix: str = "") -> SampleIds:
        """Row numbers 0 to n - 1, with a prefix."""
        return cls.of(f"{prefix}{row}" for row in range(n))

    def under(self, prefix: str) -> SampleIds:
        """The same ids with a prefix."""
        return SampleIds.of(f"{prefix}{name}" for name in self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, rows: Tensor) -> SampleIds:
        """The ids of some rows: indices, shape (k,), int64, or a mask, shape (n,), bool."""
        rows = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows
        return SampleIds(tuple(self.names[row] for row in rows.tolist()), self.keys[rows])

    def __add__(self, other: SampleIds) -> SampleIds:
        return SampleIds(self.names + other.names, torch.cat([self.keys, other.keys]))

    @cached_property
    def hash(self) -> str:
        """Hash of the ids in order, 16 hexadecimal digits."""
        return tensor_hash({"ids": self.keys})

    @cached_property
    def _by_key(self) -> dict[int, str]:
        return dict(zip(self.keys.tolist(), self.names, strict=True))

    def name_of(self, key: int) -> str | None:
        """The id of a key; None if there is none."""
        return self._by_key.get(key)

    def rows_of(self, names: Iterable[str], where: str) -> Tensor:
        """Rows of the samples with given ids, in the order of the ids, shape (k,), int64.

        Args:
            names: The ids.
            where: Name of the data, for messages.

        Raises:
            DataError: If no sample has an id.
        """
        rows = {name: row for row, name in enumerate(self.names)}
        wanted = list(names)
        for name in wanted:
            if name not in rows:
                raise DataError(
                    f"no sample of {where} has the id {name!r}: give ids such as {self.names[0]!r}"
                )
        return torch.tensor([rows[name] for name in wanted], dtype=torch.int64)

    def require_unique(self, where: str) -> None:
        """Reject duplicate ids.

        Raises:
            DataError: Names the first such id.
        """
        if len(set(self.keys.tolist())) == len(self.keys):
            return
        seen: dict[int, str] = {}
        for key, name in zip(self.keys.tolist(), self.names, strict=True):
            if key in seen:
                raise DataError(f"{where}: two samples have the id {name!r}: give unique ids")
            seen[key] = name
