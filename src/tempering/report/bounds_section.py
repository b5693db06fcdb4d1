"""Section of a report: certified and empirical robust accuracy, with a chart for the summary."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tempering.core.proofs import Proof
from tempering.core.records import AnyRecord, Assessment, Count, Measurement
from tempering.report import selection
from tempering.report.bar_chart import ticks, whisker
from tempering.report.legend import Key, legend
from tempering.report.line_chart import Point, Series, accuracy_by_eps_chart
from tempering.report.reading import Run
from tempering.report.section import Block, Section, drawn, tabled
from tempering.report.svg import Chart, element, join
from tempering.report.tables import ABSENT, Cell, Table, named
from tempering.report.wording import attack, counted, duration, listed, percent, radius, whole

METHODS = {
    "interval": "interval bounds",
    "crown-ibp": "CROWN-IBP",
    "crown": "CROWN",
    "alpha-crown": "alpha-CROWN",
    "branching": "branch and bound",
}
"""Certification methods in words."""

WIDTH, LEFT, SCALE = 380.0, 8.0, 356.0
BAR_HEIGHT = 18.0
INTERVAL_OFFSET = 4.5
"""Distance of both confidence intervals from the middle of the bar."""
LABEL_DISTANCE = 0.45
"""Labels of values closer than this are placed above each other."""


def bounds_section(run: Run, eps: float | None) -> Section | None:
    """Verdicts of all images, and both bounds by eps; None if the run is not an evaluation.

    Args:
        run: The run.
        eps: The threat's eps, to mark in the chart.
    """
    summary = run.summary
    if not isinstance(summary, Assessment):
        return None
    proof = first_proof(run.records)
    blocks: list[Block] = [*tabled([_verdict_table(summary, proof), _method_table(proof)])]
    if summary.protocol != "given":
        blocks += _by_eps(run.records, eps)
    return Section("robustness-bounds", "Robust accuracy bounds", (_prose(summary),), tuple(blocks))


def first_proof(records: Sequence[AnyRecord]) -> Proof | None:
    """The certification before the attacks, if it ran."""
    proofs = selection.of_kind(records, Proof)
    return next((proof for proof in proofs if proof.protocol == "cascade"), None)


def certified_by_method(proof: Proof) -> str:
    """Number of images that each method certified, in words."""
    parts = [
        f"{whole(count)} by {METHODS.get(name, name)}"
        for name, count in proof.by_method.items()
        if count
    ]
    return listed(parts) if parts else "no image"


def certified(summary: Assessment) -> Count:
    """The lower bound as a count."""
    return Count(hits=summary.certified_correct, n=summary.n)


def _prose(summary: Assessment) -> str:
    lower, upper = certified(summary), Count(hits=summary.robust_correct, n=summary.n)
    undecided = summary.robust_correct - summary.certified_correct
    least = f"Certified accuracy, the lower bound, is {lower}."
    if lower.hits == 0:
        least = "No image is certified, so the lower bound is 0."
    return (
        f"{least} Empirical robust accuracy, the upper bound, is {upper}. "
        f"{_images(undecided)} undecided: neither broken nor certified. "
        "Brackets are 95 % Wilson intervals, in percent."
    )


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{whole(count)} images are"


def _verdict_table(summary: Assessment, proof: Proof | None) -> Table:
    verdicts = (
        ("certified", "robust by certificate", summary.certified_correct),
        (
            "undecided",
            "not broken, not certified",
            summary.robust_correct - summary.certified_correct,
        ),
        (
            "broken",
            "correct until attacked",
            summary.clean_correct - summary.robust_correct,
        ),
        ("misclassified", "wrong without attack", summary.n - summary.clean_correct),
    )
    rows = tuple(
        (Cell(name, meaning), Cell(whole(hits)), _share(Count(hits=hits, n=summary.n)))
        for name, meaning, hits in verdicts
    )
    return Table(
        "verdicts",
        f"Verdicts on {whole(summary.n)} images",
        named("Verdict", "Images", "Share"),
        rows,
        _certification_note(proof),
    )


def _share(count: Count) -> Cell:
    cell = counted(count)
    return Cell(cell.text, cell.detail[cell.detail.index("[") :])


def _certification_note(proof: Proof | None) -> str:
    if proof is None:
        return "Certification did not run."
    if proof.unsupported is not None:
        return (
            f"No image has a certificate: {proof.unsupported}. Every image abstains, and counts as "
            "not certified."
        )
    return (
        f"Certified: {certified_by_method(proof)}; time {duration(proof.seconds)}."
        f"{_abstained(proof)}"
    )


def _abstained(proof: Proof) -> str:
    """The undecided samples by name."""
    if not proof.abstained_ids:
        return ""
    more = proof.abstained - len(proof.abstained_ids)
    rest = f", and {whole(more)} more (see verdicts.npz)" if more else ""
    return f" Undecided: {', '.join(proof.abstained_ids)}{rest}."


def _method_table(proof: Proof | None) -> Table | None:
    """What each method certified, and the time it took."""
    if proof is None or not proof.seconds_by_method:
        return None
    rows = tuple(
        (
            Cell(METHODS.get(name, name)),
            Cell(whole(proof.by_method.get(name, 0))),
            Cell(duration(seconds)),
        )
        for name, seconds in proof.seconds_by_method.items()
    )
    return Table(
        "certification-methods",
        "Certification methods, each on what the ones before it left undecided",
        named("Method", "Certified", "Time"),
        rows,
        f"Tried on a few images first: {'; '.join(proof.survey)}." if proof.survey else "",
    )


def _by_eps(records: Sequence[AnyRecord], eps: float | None) -> list[Block]:
    upper = selection.swept(records, selection.main_subject(records))
    if len(upper) < 2:
        return []
    proofs = [proof for proof in selection.of_kind(records, Proof) if proof.protocol == "curve"]
    start = [(0.0, upper[0].robust)] if proofs and upper[0].eps == 0 else []
    lower = [*start, *((proof.eps, proof.certified) for proof in proofs)]
    what = "Empirical and certified" if lower else "Empirical"
    caption = (
        f"{what} robust accuracy by eps on the first {whole(upper[0].n)} images, with 95 % "
        f"intervals{'' if lower else '; nothing is certified'}. The table has all measured eps."
    )
    return [
        *drawn("bounds-by-eps", caption, [_curve(upper, lower, eps)]),
        *tabled([_numbers(upper, dict(lower))], folded=True),
    ]


def _curve(
    upper: Sequence[Measurement], lower: Sequence[tuple[float, Count]], eps: float | None
) -> Chart:
    lines = [
        Series(
            "empirical (not broken)",
            tuple(Point(row.eps, row.robust.fraction, row.robust.interval) for row in upper),
            "third",
            "6 4",
        )
    ]
    if len(lower) > 1:
        points = tuple(Point(at, count.fraction, count.interval) for at, count in lower)
        lines.append(Series("certified", points, "after"))
    return accuracy_by_eps_chart("Robust accuracy bounds by eps", lines, eps)


def _numbers(upper: Sequence[Measurement], lower: dict[float, Count]) -> Table:
    rows = tuple(
        (
            Cell(radius(row.eps)),
            counted(lower[row.eps]) if row.eps in lower else ABSENT,
            counted(row.robust),
        )
        for row in upper
    )
    names = dict.fromkeys(attack(row.attack) for row in upper if row.eps > 0)
    by = f" ({listed(list(names))})" if names else ""
    return Table(
        "bounds-numbers",
        f"Certified and empirical robust accuracy{by}",
        named("eps", "Certified", "Empirical"),
        rows,
    )


def bounds_chart(run: Run) -> Chart:
    """A bar with both bounds of robust accuracy, beside clean and undefended accuracy."""
    bounds, clean = run.summary.robust_accuracy, run.summary.clean_accuracy
    keys = [Key("not broken by any attack", "after", faded=True)]
    if bounds.lower > 0:
        keys.insert(0, Key("certified", "after"))
    head, top = legend(keys, WIDTH)
    before = selection.measured(run.records, "standard", "undefended").get(selection.LAST)
    close = before is not None and abs(before.robust.fraction - clean) < LABEL_DISTANCE
    y = top + (36 if close else 20)
    parts = [head, _empty_bar(y), _bar(0, bounds.upper, y, "fill-after faded stroke-after")]
    if bounds.lower > 0:
        parts.append(_bar(0, bounds.lower, y, "fill-after"))
    summary = run.summary
    if isinstance(summary, Assessment) and summary.certified_correct:
        parts.append(_interval(*certified(summary).interval, y - INTERVAL_OFFSET))
        parts.append(_interval(*bounds.interval, y + INTERVAL_OFFSET))
    else:
        parts.append(_interval(*bounds.interval, y))
    parts.append(_marker(clean, f"clean {percent(clean)}", y - 6, y, "ink"))
    description = f"Certified {percent(bounds.lower)}, not broken {percent(bounds.upper)}"
    description += f"; clean {percent(clean)}"
    if before is not None:
        share = before.robust.fraction
        above = y - (22 if close else 6)
        parts.append(_marker(share, f"undefended {percent(share)}", above, y, "before"))
        description += f"; undefended {percent(share)}"
    parts.append(ticks(_x, y + BAR_HEIGHT, last="end"))
    height = y + BAR_HEIGHT + 24
    return Chart("Robust accuracy bounds", description + ".", WIDTH, height, join(*parts))


def _x(value: float) -> float:
    return LEFT + SCALE * value


def _empty_bar(y: float) -> Markup:
    return element("rect", x=LEFT, y=y, width=SCALE, height=BAR_HEIGHT, class_="empty")


def _bar(low: float, high: float, y: float, style: str) -> Markup:
    width = max(SCALE * (high - low), 1.0)
    return element("rect", x=_x(low), y=y, width=width, height=BAR_HEIGHT, class_=style)


def _interval(low: float, high: float, y: float) -> Markup:
    return whisker(_x(low), _x(high), y + BAR_HEIGHT / 2)


def _marker(value: float, label: str, text_y: float, y: float, mark: str) -> Markup:
    """A line across the bar with its label above."""
    anchor = "start" if value < 0.35 else "end"
    style = "whisker" if mark == "ink" else f"line stroke-{mark}"
    x = max(_x(value) - 4, 2) if anchor == "start" else min(_x(value) + 4, WIDTH - 2)
    return join(
        element("line", x1=_x(value), x2=_x(value), y1=y - 3, y2=y + BAR_HEIGHT + 3, class_=style),
        element("text", label, x=x, y=text_y, text_anchor=anchor),
    )
