"""What a source of data is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tempering.core.errors import DataError
from tempering.data.raw_splits import RawSplits


@dataclass(frozen=True)
class Source:
    """A kind of address that data can be loaded from.

    Attributes:
        name: What the address begins with.
        summary: What it is, in one line.
        example: An address, as people write it.
        argument: What follows the colon, such as `DIR`; None where nothing does.
        read: From the argument (empty where there is none) to checked samples.
    """

    name: str
    summary: str
    example: str
    argument: str | None
    read: Callable[[str], RawSplits]


def folder(argument: str, holding: str) -> Path:
    """The folder that an argument names.

    Raises:
        DataError: If there is none; says what it should hold.
    """
    path = Path(argument).expanduser()
    if not path.is_dir():
        raise DataError(f"no folder {path}: give one that holds {holding}")
    return path
