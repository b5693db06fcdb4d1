"""Tables as values, rendered as HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "good", "fair", "bad", "quiet"]
"""Colour of a cell; its text says the same in words."""


@dataclass(frozen=True)
class Cell:
    """One entry.

    Attributes:
        text: Main text, such as `91.2 %`.
        detail: Secondary text, such as counts and an interval.
        tone: Colour of the text.
    """

    text: str
    detail: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Column:
    """A column heading; numbers are aligned to the right.

    Attributes:
        label: Content of the column.
        numeric: Whether it contains numbers.
        detail: Qualifier below the label.
    """

    label: str
    numeric: bool = True
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        id: Unique within a page.
        caption: What the table shows.
        columns: Column headings.
        rows: One cell per column in each row.
        note: Remark below the table.
        foot: Number of last rows that summarize the others.

    Raises:
        ValueError: If a row does not have one cell per column.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    foot: int = 0

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.id!r}: row {row[0].text!r} has {len(row)} cells: "
                    f"give {len(self.columns)}"
                )


ABSENT = Cell("–", tone="quiet")
"""Cell of a value that was not measured."""


def named(*names: str) -> tuple[Column, ...]:
    """A first column of row names, then columns of numbers."""
    return tuple(Column(name, numeric=at > 0) for at, name in enumerate(names))


def worded(*names: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(Column(name, numeric=False) for name in names)
