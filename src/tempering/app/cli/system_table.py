"""The table of a benchmark on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tempering.app.cli.console import leads
from tempering.core.record import Count
from tempering.core.system_records import SystemTable
from tempering.report.wording import duration, slowdown

HEADINGS = (
    *("system", "claimed", "oblivious", "adaptive", "strict"),
    *("clean", "abstains", "overhead", "training", "n"),
)
WIDTH = 120
"""Columns that the table needs; a narrower terminal wraps its lines."""


def show(table: SystemTable) -> None:
    """Print one line a system, and the errors of those that failed."""
    if not leads():
        return
    shown = Table(box=None, pad_edge=False)
    for number, heading in enumerate(HEADINGS):
        shown.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in table.rows:
        claimed = "-" if row.claimed is None else f"{100 * row.claimed:.1f}"
        overhead = "-" if row.overhead is None else slowdown(row.overhead)
        shown.add_row(
            row.system + "*" * bool(row.shortened) + "!" * bool(row.flags),
            claimed,
            *map(_with_interval, (row.oblivious, row.adaptive)),
            *map(_share, (row.adaptive_strict, row.clean, row.abstained)),
            overhead,
            "-" if row.seconds is None else duration(row.seconds),
            str(row.n),
        )
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, WIDTH)
    console.print(shown)
    console.print("accuracies in percent, with 95 % intervals", markup=False)
    for line in _legend(table):
        console.print(line, markup=False)
    for row in table.rows:
        if row.error is not None:
            console.print(f"{row.system} failed: {row.error}", markup=False)


def _legend(table: SystemTable) -> list[str]:
    """What columns and marks mean, where they occur."""
    told = []
    if any(row.adaptive_strict is not None for row in table.rows):
        told.append(
            "strict: under the adaptive attacker, images on which a system abstains left out"
        )
    if any(row.shortened for row in table.rows):
        told.append("* trained for a shorter time than by its authors: no ranking of the methods")
    told += [f"! {row.system}: {', '.join(row.flags)}" for row in table.rows if row.flags]
    return told


def _share(count: Count | None) -> str:
    return "-" if count is None else f"{100 * count.fraction:.1f}"


def _with_interval(count: Count | None) -> str:
    if count is None:
        return "-"
    low, high = count.interval
    return f"{_share(count)} [{100 * low:.0f}, {100 * high:.0f}]"
