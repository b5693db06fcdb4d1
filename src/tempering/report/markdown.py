"""A report as GitHub Markdown: the same sections and tables as the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tempering.report.contents import SectionBuilder, report_of
from tempering.report.reading import read_run
from tempering.report.section import Block, Facts, Flags, Link, Report, Section, TableBlock
from tempering.report.tables import Cell, Column, Table
from tempering.report.wording import whole

_ACTIVE = re.compile(r"[\\`*~|$<]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|\](?=[(\[:])|(?<!\w)@(?=\w)")
_OPENING = re.compile(r"^(?=[#>+=-])")


def of_run(run: Path, extra: Sequence[SectionBuilder] = ()) -> str:
    """The report of a run folder.

    Args:
        run: The folder.
        extra: Sections that other rooms add.

    Raises:
        RunError: If a file is missing or damaged.
    """
    return page(report_of(read_run(run), extra))


def page(report: Report) -> str:
    """A whole report."""
    numbers = report.numbers()
    parts = [f"# {text(report.title)}", paragraph(report.subtitle)]
    for section in report.sections:
        parts += _section(section, numbers)
    return "\n\n".join(parts) + "\n"


def table(shown: Table, number: str = "") -> str:
    """A table with its caption above and its note below.

    Args:
        shown: The table.
        number: Number before the caption, such as `Table 3`.
    """
    head = f"**{number}.** " if number else ""
    lines = [
        _row([_heading(column) for column in shown.columns]),
        _row(["---:" if column.numeric else ":---" for column in shown.columns]),
        *(_row([_cell(cell) for cell in row]) for row in shown.rows),
    ]
    parts = [f"{head}{text(shown.caption)}", "\n".join(lines)]
    if shown.note:
        parts.append(paragraph(shown.note))
    return "\n\n".join(parts)


def text(value: str) -> str:
    r"""Text on one line, with Markdown and HTML escaped.

    Example:
        >>> text("<b>a|b")
        '&lt;b>a\\|b'
    """
    return _ACTIVE.sub(_escaped, " ".join(value.split()))


def paragraph(value: str) -> str:
    """Text as a paragraph, escaped so that it starts neither a heading nor a list."""
    return _OPENING.sub(r"\\", text(value))


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return {"<": "&lt;", "&": "&amp;"}.get(character, f"\\{character}")


def _section(section: Section, numbers: dict[str, str]) -> list[str]:
    prose = [paragraph(part) for part in section.prose if part]
    blocks = [shown for block in section.blocks if (shown := _block(block, numbers))]
    return [f"## {text(section.title)}", *prose, *blocks] if prose or blocks else []


def _block(block: Block, numbers: dict[str, str]) -> str:
    match block:
        case TableBlock():
            return table(block.table, numbers[block.table.id])
        case Facts():
            return "\n".join(f"- {text(name)}: {_cell(cell)}" for name, cell in block.rows)
        case Flags():
            return "\n".join(
                f"- **{text(flag.name)}.** {text(flag.meaning)} *Remedy:* {text(flag.remedy)} "
                f"*Evidence:* {text(flag.evidence)}"
                + (f" *Images:* {_listed(flag.samples)}" if flag.samples else "")
                for flag in block.flags
            )
        case Link():
            return f"[{text(block.text)}]({block.file})"
        case _:
            return ""


def _listed(samples: list[str | int], most: int = 20) -> str:
    more = f" and {whole(len(samples) - most)} more" if len(samples) > most else ""
    return ", ".join(text(str(sample)) for sample in samples[:most]) + more


def _heading(column: Column) -> str:
    return text(f"{column.label}, {column.detail}" if column.detail else column.label)


def _cell(cell: Cell) -> str:
    return text(f"{cell.text} ({cell.detail})" if cell.detail else cell.text)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
