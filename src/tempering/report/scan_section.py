"""Section of a run's report: the scan of its training data, with a link to the suspects."""

from __future__ import annotations

from tempering.core.scan_records import ScanRecord
from tempering.report.reading import SCAN_PAGE, Run
from tempering.report.section import Facts, Link, Section, tabled
from tempering.report.tables import Cell, Column, Table


def scan_section(run: Run) -> Section | None:
    """Verdict, suspects and dropped samples; None if the run scanned nothing."""
    record = run.scan
    if record is None:
        return None
    facts = Facts(
        "Scan of the training data",
        (
            ("verdict", Cell(record.verdict)),
            ("suspects", Cell(f"{record.suspects:,} of {record.n:,}")),
            ("by chance alone", Cell(f"about {record.expected:,.0f}")),
            ("dropped", Cell(f"{record.dropped:,}")),
        ),
    )
    link = Link(SCAN_PAGE, "Suspects with their reasons and nearest neighbours")
    return Section(
        "scan", "Scan for poison", (_told(record),), (facts, *tabled([_losses(record)]), link)
    )


def _told(record: ScanRecord) -> str:
    scans = ", ".join(row.name for row in record.scans)
    if record.dropped:
        return (
            f"There are significantly more suspects than chance gives (scans: {scans}), so they "
            "were left out of the training. The mask is scan/keep.npz."
        )
    return (
        f"There are not significantly more suspects than chance gives (scans: {scans}), so "
        "nothing was dropped."
    )


def _losses(record: ScanRecord) -> Table:
    return Table(
        "scan-table",
        "Dropped training samples by class",
        (Column("class", numeric=False), Column("samples"), Column("dropped")),
        tuple(
            (Cell(row.name), Cell(f"{row.n:,}"), Cell(f"{row.suspects:,}")) for row in record.losses
        ),
    )
