"""What a report is made of: sections of prose, tables, figures and pictures.

The page and the Markdown are two ways of showing the same sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tempering.core.records import Flag
from tempering.report.svg import Chart
from tempering.report.tables import Cell, Table, Tone


@dataclass(frozen=True)
class Facts:
    """A few values that matter most, each with its name."""

    kind: ClassVar[str] = "facts"
    caption: str
    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class Tabled:
    """A table; folded ones are opened by who wants them."""

    kind: ClassVar[str] = "table"
    table: Table
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """Charts side by side under one caption."""

    kind: ClassVar[str] = "figure"
    id: str
    caption: str
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Picture:
    """An image of the data.

    Attributes:
        source: PNG as a data address.
        text: What it shows, for those who do not see it.
        label: What stands below it.
    """

    source: str
    text: str
    label: str


@dataclass(frozen=True)
class Example:
    """An image, its adversarial twin and their difference, and what models said.

    Attributes:
        heading: Its true class and the attack.
        pictures: The three images.
        answers: Who was asked about what, the answer, and how it is meant.
    """

    heading: str
    pictures: tuple[Picture, ...]
    answers: tuple[tuple[str, str, Tone], ...]


@dataclass(frozen=True)
class Examples:
    """Adversarial examples under one caption."""

    kind: ClassVar[str] = "examples"
    id: str
    caption: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Sheet:
    """Images in rows under one caption."""

    kind: ClassVar[str] = "sheet"
    id: str
    caption: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Warned:
    """Flags, each with meaning, remedy and evidence."""

    kind: ClassVar[str] = "flags"
    flags: tuple[Flag, ...]


Block = Facts | Tabled | Figure | Examples | Sheet | Warned


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        id: Unique within a report.
        title: Its heading.
        prose: Paragraphs at its head.
        blocks: What follows them.
    """

    id: str
    title: str
    prose: tuple[str, ...]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: Its heading.
        subtitle: One line below it.
        sections: The first one is the summary.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]

    def tables(self) -> Iterator[Table]:
        """All tables, in order."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Tabled):
                    yield block.table

    def numbers(self) -> dict[str, str]:
        """Id of a table or figure -> `Table 3` or `Figure 2`, in order of appearance."""
        figures = [
            block.id
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Figure | Examples | Sheet)
        ]
        counted = {"Table": [table.id for table in self.tables()], "Figure": figures}
        return {
            identity: f"{word} {number}"
            for word, identities in counted.items()
            for number, identity in enumerate(identities, 1)
        }


def tabled(tables: Sequence[Table | None], folded: bool = False) -> tuple[Tabled, ...]:
    """The tables that have rows, as blocks."""
    return tuple(Tabled(table, folded) for table in tables if table is not None and table.rows)


def drawn(identity: str, caption: str, charts: Sequence[Chart | None]) -> tuple[Figure, ...]:
    """The charts that there are, as one figure, or nothing."""
    present = tuple(chart for chart in charts if chart is not None)
    return (Figure(identity, caption, present),) if present else ()
