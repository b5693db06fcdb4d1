"""The type of data sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tempering.core.errors import DataError

if TYPE_CHECKING:
    from tempering.data.raw_splits import RawSplits


@dataclass(frozen=True)
class Source:
    """A data source, selected by the first part of an address.

    Attributes:
        name: First part of the address.
        summary: Description of one line.
        example: A complete address.
        argument: Placeholder for the part after the colon, such as `DIR`; None if it takes none.
        read: Reads the argument (empty if there is none) and returns validated samples.
    """

    name: str
    summary: str
    example: str
    argument: str | None
    read: Callable[[str], RawSplits]


def folder(argument: str, holding: str) -> Path:
    """The folder that an argument names.

    Raises:
        DataError: If it does not exist; the message says what it should contain.
    """
    path = Path(argument).expanduser()
    if not path.is_dir():
        raise DataError(f"no folder {path}: give one with {holding}")
    return path
