"""Robust accuracy from both sides: what became of every image, and both bounds against eps."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.proofs import Proof
from tempering.core.records import AnyRecord, Assessment, Count, Measurement
from tempering.report import choosing
from tempering.report.lines import Point, Series, axis, in_percent, line_chart
from tempering.report.reading import Run
from tempering.report.section import Block, Section, drawn, tabled
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Table, named
from tempering.report.wording import attack, counted, duration, listed, percent, radius, whole

METHODS = {"interval": "interval bounds", "crown-ibp": "CROWN between interval bounds"}
"""Proofs in words."""


def two_sided(run: Run, eps: float | None) -> Section | None:
    """What is proven, what is broken, and what lies between; nothing without an assessment.

    Args:
        run: What was found.
        eps: The threat's, to mark in the curve.
    """
    found = run.summary
    if not isinstance(found, Assessment):
        return None
    blocks: list[Block] = [*tabled([_fates(found, settled(run.records))])]
    if found.protocol != "given":
        blocks += _curve(run.records, eps)
    return Section("two-sided", "From both sides", (_said(found),), tuple(blocks))


def settled(records: Sequence[AnyRecord]) -> Proof | None:
    """The proofs before the attacks, if any were tried."""
    proofs = choosing.of_kind(records, Proof)
    return next((one for one in proofs if one.protocol == "cascade"), None)


def methods(proof: Proof) -> str:
    """How many images each method settled, in words."""
    told = [
        f"{whole(count)} by {METHODS.get(name, name)}"
        for name, count in proof.by_method.items()
        if count
    ]
    return listed(told) if told else "no image settled"


def certified(found: Assessment) -> Count:
    """The lower bound as a count."""
    return Count(hits=found.certified_correct, n=found.n)


def _said(found: Assessment) -> str:
    lower, upper = certified(found), Count(hits=found.robust_correct, n=found.n)
    open_ = found.robust_correct - found.certified_correct
    between = "lies 1 image" if open_ == 1 else f"lie {whole(open_)} images"
    least = f"Certified: at least {lower}."
    if lower.hits == 0:
        least = "Nothing is certified, so the lower bound is 0."
    return (
        f"{least} Withstood everything that was tried: at most {upper}. "
        f"Between the two {between} that no attack broke and no proof settled. Brackets hold "
        "95 % Wilson intervals, in percent."
    )


def _fates(found: Assessment, proof: Proof | None) -> Table:
    fates = (
        ("certified", "proven to keep the true class", found.certified_correct),
        (
            "undecided",
            "withstood everything, without a proof",
            found.robust_correct - found.certified_correct,
        ),
        ("broken", "right until attacked", found.clean_correct - found.robust_correct),
        ("wrong", "without any attack", found.n - found.clean_correct),
    )
    rows = tuple(
        (Cell(name, what), Cell(whole(hits)), _share(Count(hits=hits, n=found.n)))
        for name, what, hits in fates
    )
    return Table(
        "fates",
        f"What became of {whole(found.n)} images",
        named("Fate", "Images", "Share"),
        rows,
        _proofs(proof),
    )


def _share(count: Count) -> Cell:
    shown = counted(count)
    return Cell(shown.text, shown.detail[shown.detail.index("[") :])


def _proofs(proof: Proof | None) -> str:
    if proof is None:
        return "No proof was tried."
    if proof.unsupported is not None:
        return f"No proof is possible with the bounds that there are: {proof.unsupported}."
    return f"Proofs: {methods(proof)}; they took {duration(proof.seconds)}."


def _curve(records: Sequence[AnyRecord], eps: float | None) -> list[Block]:
    upper = choosing.swept(records, choosing.main_subject(records))
    if len(upper) < 2:
        return []
    proofs = [one for one in choosing.of_kind(records, Proof) if one.protocol == "curve"]
    start = [(0.0, upper[0].robust)] if proofs and upper[0].eps == 0 else []
    lower = [*start, *((one.eps, one.certified) for one in proofs)]
    caption = (
        f"Accuracy on the first {whole(upper[0].n)} images as the attacker may change more: "
        "at most what no attack broke"
        + (", at least what is proven" if lower else "; nothing is proven")
        + "; bands are 95 % intervals."
    )
    return [
        *drawn("two-sided-figure", caption, [_chart(upper, lower, eps)]),
        *tabled([_numbers(upper, dict(lower))], folded=True),
    ]


def _chart(
    upper: Sequence[Measurement], lower: Sequence[tuple[float, Count]], eps: float | None
) -> Chart:
    lines = [
        Series(
            "not broken",
            tuple(Point(one.eps, one.robust.fraction, one.robust.interval) for one in upper),
            "third",
            "6 4",
        )
    ]
    if len(lower) > 1:
        points = tuple(Point(at, count.fraction, count.interval) for at, count in lower)
        lines.append(Series("proven", points, "after"))
    said = "; ".join(
        f"{line.label}: " + ", ".join(f"{percent(p.y)} at {radius(p.x)}" for p in line.points)
        for line in lines
    )
    return line_chart(
        "Accuracy against eps, from both sides",
        f"{said}.",
        lines,
        axis(0.0, upper[-1].eps, "eps"),
        axis(0.0, 1.0, "accuracy", in_percent),
        None if eps is None else (eps, f"threat, {radius(eps)}"),
    )


def _numbers(upper: Sequence[Measurement], lower: dict[float, Count]) -> Table:
    rows = tuple(
        (
            Cell(radius(one.eps)),
            counted(lower[one.eps]) if one.eps in lower else ABSENT,
            counted(one.robust),
        )
        for one in upper
    )
    names = dict.fromkeys(attack(one.attack) for one in upper)
    return Table(
        "two-sided-numbers",
        f"Both bounds against eps: proofs, and {listed(list(names))}",
        named("eps", "Proven", "Not broken"),
        rows,
    )
