"""Tables as values: built from records, shown as HTML or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "good", "fair", "bad", "quiet"]
"""How a cell or a mark is meant; its text says the same in words."""


@dataclass(frozen=True)
class Cell:
    """One entry.

    Attributes:
        text: What is read first, such as `91.2 %`.
        detail: What stands behind it, such as counts and an interval.
        tone: Colour of the text.
    """

    text: str
    detail: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers stand at its right edge.

    Attributes:
        label: What it holds.
        numeric: Whether it holds numbers.
        detail: What tells it from a neighbour with the same label.
    """

    label: str
    numeric: bool = True
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        id: Unique within a page.
        caption: What the numbers are of.
        columns: One heading a column.
        rows: As many cells a row as there are columns.
        note: What a reader must know to read it right.
        foot: How many of the last rows sum up the others.

    Raises:
        ValueError: If a row has not one cell a column.
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
"""What was not measured."""


def named(*names: str) -> tuple[Column, ...]:
    """Columns whose first names the rows and whose others hold numbers."""
    return tuple(Column(name, numeric=at > 0) for at, name in enumerate(names))


def worded(*names: str) -> tuple[Column, ...]:
    """Columns that hold words."""
    return tuple(Column(name, numeric=False) for name in names)
