"""Draws robust accuracy against time of training, from the records of `training.py`.

Run `python benchmarks/training_figure.py`. It writes `docs/images/training.svg`, for light and dark
pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from journal import RECORDS, Journal
from tempering.core.files import write_text
from tempering.core.records import Count
from tempering.report.line_chart import Axis, Point, Series, axis, in_percent, line_chart
from tempering.report.svg import standalone

Row = dict[str, Any]

PLACE = Path(__file__).parents[1] / "docs" / "images" / "training.svg"
OURS = (
    ("default@threshold", "the default recipe", "after", "none"),
    ("pgd@none", "pgd, no stage", "third", "none"),
    ("pgd@threshold", "pgd, threshold", "fourth", "none"),
)
THEIRS = (
    ("torchattacks@threshold", "torchattacks, threshold", "before", "none"),
    ("art@threshold", "ART, threshold", "before", "6 4"),
    ("torchattacks@none", "torchattacks, no stage", "before", "2 3"),
)
"""Way, its label, its colour and its dashes; the loops of other libraries share a colour."""
TITLE = "Robust accuracy against time of training"


def drawn(rows: Sequence[Row]) -> str:
    """The figure as SVG; ways without records are left out."""
    by_name = {row["cell"]["way"]: row for row in rows}
    series = [
        Series(label, points(by_name[way]), mark, dash)
        for way, label, mark, dash in (*OURS, *THEIRS)
        if way in by_name
    ]
    end = max(line.points[-1].x for line in series)
    across: Axis = axis(0.0, end, "seconds of one processor thread")
    description = "; ".join(
        f"{line.label}: {100 * line.points[-1].y:.1f} % after {line.points[-1].x:.0f} s"
        for line in series
    )
    up = axis(0.0, 1.0, "robust accuracy", in_percent)
    return standalone(line_chart(TITLE, f"{description}.", series, across, up))


def points(row: Row) -> tuple[Point, ...]:
    """The curve of a way, with 95 % intervals."""
    counts = [
        (point["cpu"], Count(hits=int(point["robust"]), n=row["n"])) for point in row["curve"]
    ]
    return tuple(Point(cpu, count.fraction, count.interval) for cpu, count in counts)


if __name__ == "__main__":
    write_text(PLACE, drawn(Journal(RECORDS / "training.jsonl").rows))
