"""The page of a benchmark: the table of systems, attacks on them, and what becomes of claims."""

from __future__ import annotations

from pathlib import Path

from tempering.core.files import write_text
from tempering.core.record import Count
from tempering.core.system_records import SystemRow, SystemTable
from tempering.report.bar_chart import Bar, BarGroup, bar_chart
from tempering.report.detector_section import detector_section
from tempering.report.fgsm_section import fgsm_section
from tempering.report.further_attacks import further_section
from tempering.report.paper_tables_section import paper_tables_section
from tempering.report.run_page import html
from tempering.report.section import Figure, Report, Section, TableBlock
from tempering.report.shade import shaded
from tempering.report.tables import ABSENT, Cell, Column, Table
from tempering.report.wording import attack as attack_name
from tempering.report.wording import counted, duration, percent, slowdown
from tempering.report.wording import threat as threat_name


def write_page(table: SystemTable, path: Path) -> Path:
    """Write the page; it opens offline.

    Raises:
        RunError: If it cannot be written.
    """
    write_text(path, html(report_of(table)))
    return path


def report_of(table: SystemTable) -> Report:
    """The page as sections."""
    of_systems = [part(row) for row in table.rows for part in (fgsm_section, detector_section)]
    return Report(
        title="Systems under attack",
        subtitle=(
            f"{table.data}, {threat_name(table.threat)}, budget {table.budget}, seed {table.seed}"
        ),
        sections=(
            _summary(table),
            _heat_map(table),
            _drops(table),
            *(section for section in (paper_tables_section(table), *of_systems) if section),
            *(further_section(row) for row in table.rows if row.further),
            _notes(table),
        ),
        source="benchmark.json",
    )


def _summary(table: SystemTable) -> Section:
    n = max((row.n for row in table.rows), default=0)
    return Section(
        "systems",
        "Systems",
        (
            f"All systems were trained on the same data and attacked on the same {n} test images. "
            "The oblivious attacker attacks a network without the defense and shows the images to "
            "the system. The adaptive attacker knows the system, and keeps what the oblivious one "
            "found. Abstention counts as withstanding an attack, and as wrong on a clean image.",
        ),
        (
            TableBlock(
                Table(
                    "systems-table",
                    "Accuracy claimed, without attack, and under both attackers",
                    (
                        Column("system", numeric=False),
                        Column("claimed"),
                        Column("oblivious"),
                        Column("adaptive"),
                        Column("adaptive", detail="abstentions not counted"),
                        Column("clean"),
                        Column("abstention"),
                        Column("overhead"),
                        Column("training"),
                        Column("n"),
                    ),
                    tuple(_row(row) for row in table.rows),
                    note=(
                        f"Attacks of both: {', '.join(map(attack_name, table.attacks))}; the "
                        f"adaptive attacker also runs the protocol {table.protocol}. Intervals "
                        "are 95 % Wilson intervals. Claims are the authors', for their own data, "
                        f"attacks and measures. {_marks(table)}Overhead is the time of a "
                        f"prediction over that of the bare network, less 1; {table.processor}, "
                        f"threads: {table.threads}."
                    ),
                )
            ),
        ),
    )


def _marks(table: SystemTable) -> str:
    """What the marks below the names of systems mean."""
    told = []
    if any(row.shortened for row in table.rows):
        told.append(
            "Shortened: trained for a shorter time than by its authors, so its place below "
            "another system may be due to that alone."
        )
    if any(row.flags for row in table.rows):
        told.append("Flag: a check of the evaluation failed, so the figure may be too high.")
    return "".join(f"{sentence} " for sentence in told)


def _row(row: SystemRow) -> tuple[Cell, ...]:
    marks = [*(["shortened"] if row.shortened else []), *(f"flag: {name}" for name in row.flags)]
    name = Cell(row.title, "; ".join([row.source, *marks]))
    claimed = ABSENT if row.claimed is None else Cell(percent(row.claimed))
    if row.error is not None:
        failed = Cell("failed", row.error, "bad")
        return (name, claimed, failed, *[ABSENT] * 6, Cell(str(row.n)))
    return (
        name,
        claimed,
        counted(row.oblivious),
        counted(row.adaptive),
        ABSENT if row.adaptive_strict is None else counted(row.adaptive_strict),
        counted(row.clean),
        ABSENT if row.abstained is None else counted(row.abstained),
        ABSENT if row.overhead is None else Cell(slowdown(row.overhead)),
        ABSENT if row.seconds is None else Cell(duration(row.seconds)),
        Cell(str(row.n)),
    )


def _heat_map(table: SystemTable) -> Section:
    attacks = list(dict.fromkeys(name for row in table.rows for name in row.by_attack))
    columns = (
        Column("system", numeric=False),
        *(Column(attack_name(name)) for name in attacks),
        Column("adaptive, worst case"),
    )
    rows = tuple(
        (
            Cell(row.title),
            *(shaded(row.by_attack.get(name)) for name in attacks),
            shaded(row.adaptive),
        )
        for row in table.rows
        if row.error is None
    )
    return Section(
        "attacks",
        "Attacks and systems",
        ("Accuracy of each system under each attack of the oblivious attacker.",),
        (TableBlock(Table("attacks-table", "Attack by system", columns, rows)),),
    )


def _drops(table: SystemTable) -> Section:
    groups = tuple(
        BarGroup(
            row.title,
            (
                Bar("claimed", row.claimed, mark="third", faded=True),
                _bar("oblivious attacker", row.oblivious, "before"),
                _bar("adaptive attacker", row.adaptive, "after"),
            ),
        )
        for row in table.rows
        if row.error is None
    )
    chart = bar_chart(
        "From claim to adaptive attacker",
        "Accuracy of each system: claimed, under the oblivious and under the adaptive attacker.",
        groups,
    )
    return Section(
        "drops",
        "What an attacker who knows the system leaves",
        (),
        (Figure("drops-figure", "Claimed, oblivious and adaptive accuracy", (chart,)),),
    )


def _bar(label: str, count: Count | None, mark: str) -> Bar:
    if count is None:
        return Bar(label, None, mark=mark)
    return Bar(label, count.fraction, count.interval, mark)


def _notes(table: SystemTable) -> Section:
    columns = tuple(
        Column(name, numeric=False)
        for name in (
            "system",
            "claim",
            "how it works",
            "gaps as we read them",
            "how it breaks",
            "shortened",
        )
    )
    rows = tuple(
        (
            Cell(row.title),
            Cell(_claim(row)),
            Cell(row.how),
            Cell(row.gaps or "–"),
            Cell(row.weakness or "–"),
            Cell("; ".join(row.shortened) or "–"),
        )
        for row in table.rows
    )
    return Section(
        "notes",
        "The systems in words",
        (),
        (TableBlock(Table("notes-table", "How each works, and how it breaks", columns, rows)),),
    )


def _claim(row: SystemRow) -> str:
    return "–" if row.claimed is None else f"{percent(row.claimed)}: {row.claim}"
