"""Section of the page of a benchmark: accuracy under FGSM, and what a published fall can mean."""

from __future__ import annotations

from itertools import pairwise

from tempering.core.intervals import wilson
from tempering.core.published import FGSM_EPS, FGSM_FALL
from tempering.core.system_records import SystemRow
from tempering.report.line_chart import Point, Series, axis, in_percent, line_chart
from tempering.report.section import Figure, Section, TableBlock
from tempering.report.tables import Cell, Column, Table, named
from tempering.report.wording import bracket, percent, radius, whole

SWEEP = "fgsm_on_validation"
"""Key of the details that hold eps -> images that stay right."""

Curve = list[tuple[float, float]]


def fgsm_section(row: SystemRow) -> Section | None:
    """The sweep over eps, with the readings of the published fall; None if there is none."""
    details = row.details
    if SWEEP not in details:
        return None
    n, fall, at = int(details["n"]), FGSM_FALL, FGSM_EPS
    hits = {float(eps): int(count) for eps, count in details[SWEEP].items()}
    curve = [(eps, count / n) for eps, count in sorted(hits.items())]
    readings = _readings(curve[0][1], fall)
    points = tuple(Point(eps, hits[eps] / n, wilson(hits[eps], n)) for eps, _ in curve)
    lines = [Series("under FGSM", points, "before")]
    ends = (curve[0][0], curve[-1][0])
    marks = (("after", "6 3"), ("third", "6 3"), ("fourth", "2 3"))
    for (name, level), (mark, dash) in zip(readings.items(), marks, strict=True):
        lines.append(Series(name, tuple(Point(x, level) for x in ends), mark, dash, dots=False))
    chart = line_chart(
        "Accuracy by eps",
        "; ".join(f"{percent(right)} at eps {radius(eps)}" for eps, right in curve) + ".",
        lines,
        axis(0.0, ends[1], "eps of FGSM"),
        axis(0.0, 1.0, "accuracy", in_percent),
        (at, f"published, {radius(at)}"),
    )
    return Section(
        "fgsm-sweep",
        f"{row.title}: accuracy by eps",
        (
            f"{row.source} reports that FGSM at eps {radius(at)} makes accuracy fall "
            f"{percent(fall, 0)}, which can be read in three ways. The network here is the "
            f"undefended one, attacked on {whole(n)} validation images.",
        ),
        (
            Figure("fgsm-sweep-figure", "Accuracy under FGSM, and the readings", (chart,)),
            TableBlock(_sweep(curve, n, hits)),
            TableBlock(_compared(curve, readings, at)),
        ),
    )


def _readings(clean: float, fall: float) -> dict[str, float]:
    """What accuracy is left by each reading."""
    return {
        f"to {percent(fall, 0)}": fall,
        f"by {percent(fall, 0)} of what it was": (1 - fall) * clean,
        f"by {100 * fall:.0f} points": max(0.0, clean - fall),
    }


def _sweep(curve: Curve, n: int, hits: dict[float, int]) -> Table:
    return Table(
        "fgsm-sweep-table",
        "Accuracy under FGSM",
        (Column("eps", numeric=False), *(Column(radius(eps)) for eps, _ in curve)),
        (
            (
                Cell("accuracy"),
                *(Cell(percent(right), bracket(wilson(hits[eps], n))) for eps, right in curve),
            ),
        ),
    )


def _compared(curve: Curve, readings: dict[str, float], at: float) -> Table:
    there = _value(curve, at)
    rows = []
    for name, level in readings.items():
        eps = _crossing(curve, level)
        reached = "not up to " + radius(curve[-1][0]) if eps is None else f"{eps:.3f}"
        far = "–" if there is None else f"{100 * (there - level):+.1f}"
        rows.append((Cell(name), Cell(percent(level)), Cell(reached), Cell(far)))
    measured = "not measured" if there is None else percent(there)
    return Table(
        "fgsm-readings",
        "Readings of the published fall, and the eps that gives each here",
        named("accuracy falls", "accuracy left", "eps that gives it", f"points off at {at:g}"),
        tuple(rows),
        note=(
            f"Accuracy here at eps {radius(at)}: {measured}. An eps lies on the line between two "
            "measured ones; points off are our accuracy less that of the reading."
        ),
    )


def _value(curve: Curve, eps: float) -> float | None:
    return next((right for size, right in curve if abs(size - eps) < 1e-9), None)


def _crossing(curve: Curve, level: float) -> float | None:
    """The smallest eps at which accuracy has fallen to a level; None if it never has."""
    for (low, before), (high, after) in pairwise(curve):
        if after <= level <= before:
            share = (before - level) / (before - after) if before > after else 0.0
            return low + share * (high - low)
    return None
