"""The content of a report: sections with prose, tables, figures and images.

HTML and Markdown are two renderings of the same sections.
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
    """Key figures with their names."""

    kind: ClassVar[str] = "facts"
    caption: str
    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class TableBlock:
    """A table; a folded one is collapsed at first."""

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
        source: PNG as a data URL.
        text: Alternative text.
        label: Text below the image.
    """

    source: str
    text: str
    label: str


@dataclass(frozen=True)
class Example:
    """A clean image, an adversarial image, their difference, and predictions on them.

    Attributes:
        heading: True class and attack.
        pictures: The three images.
        predictions: Model and image, prediction, and its tone.
    """

    heading: str
    pictures: tuple[Picture, ...]
    predictions: tuple[tuple[str, str, Tone], ...]


@dataclass(frozen=True)
class Examples:
    """Adversarial examples under one caption."""

    kind: ClassVar[str] = "examples"
    id: str
    caption: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class PictureSheet:
    """Images in rows under one caption."""

    kind: ClassVar[str] = "sheet"
    id: str
    caption: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Flags:
    """Flags with meaning, remedy and evidence."""

    kind: ClassVar[str] = "flags"
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class Link:
    """A link to a file beside the report.

    Attributes:
        file: Its name.
        text: What is there.
    """

    kind: ClassVar[str] = "link"
    file: str
    text: str


Block = Facts | TableBlock | Figure | Examples | PictureSheet | Flags | Link


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        id: Unique within a report.
        title: Heading.
        prose: Paragraphs below the heading.
        blocks: Content after the paragraphs.
    """

    id: str
    title: str
    prose: tuple[str, ...]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: Heading.
        subtitle: Line below the heading.
        sections: Sections, the summary first.
        source: The file with the counts behind all numbers.
        basis: What that file holds.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    source: str = "records.jsonl"
    basis: str = "the integer counts"

    def tables(self) -> Iterator[Table]:
        """All tables, in order."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, TableBlock):
                    yield block.table

    def numbers(self) -> dict[str, str]:
        """Id of a table or figure -> `Table 3` or `Figure 2`, in order of appearance."""
        figures = [
            block.id
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Figure | Examples | PictureSheet)
        ]
        by_word = {"Table": [table.id for table in self.tables()], "Figure": figures}
        return {
            identity: f"{word} {number}"
            for word, identities in by_word.items()
            for number, identity in enumerate(identities, 1)
        }


def tabled(tables: Sequence[Table | None], folded: bool = False) -> tuple[TableBlock, ...]:
    """The tables with rows, as blocks."""
    return tuple(TableBlock(table, folded) for table in tables if table is not None and table.rows)


def drawn(identity: str, caption: str, charts: Sequence[Chart | None]) -> tuple[Figure, ...]:
    """The charts that exist as one figure, or nothing."""
    present = tuple(chart for chart in charts if chart is not None)
    return (Figure(identity, caption, present),) if present else ()
