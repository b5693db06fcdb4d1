"""Section of a report: a paired comparison with the model of another run."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.comparisons import Comparison, Quantity, comparison_warnings
from tempering.core.records import AnyRecord
from tempering.report import selection
from tempering.report.section import Section, TableBlock
from tempering.report.tables import Cell, Table, named
from tempering.report.wording import whole

SIGNIFICANCE = 0.05
"""A difference with a p value above this level is reported as not significant."""

SENTENCE_START: dict[Quantity, str] = {
    "clean": "Clean accuracy",
    "robust": "Robust accuracy",
    "certified": "Certified accuracy",
}
ROW_LABEL: dict[Quantity, str] = {
    "clean": "correct without attack",
    "robust": "robust to all attacks",
    "certified": "certified",
}


def comparison_sections(records: Sequence[AnyRecord]) -> list[Section]:
    """One section per run that this one was compared with."""
    comparisons = selection.of_kind(records, Comparison)
    by_model: dict[tuple[str | None, str], list[Comparison]] = {}
    for comparison in comparisons:
        other = (comparison.second.run, comparison.second.weights)
        by_model.setdefault(other, []).append(comparison)
    return [_section(number, rows) for number, rows in enumerate(by_model.values(), 1)]


def _section(number: int, comparisons: Sequence[Comparison]) -> Section:
    first = comparisons[0]
    name = first.second.run or first.second.model
    lead = (
        f"This model and {first.second} on the same {whole(first.paired.n)} images. "
        "The test uses the images on which the two models differ."
    )
    results = " ".join(
        f"{SENTENCE_START[comparison.quantity]}: {verdict(comparison)}"
        for comparison in comparisons
    )
    warnings = [
        warning
        for comparison in comparisons
        if comparison.quantity == "robust"
        for warning in comparison_warnings(comparison)
    ]
    identity = "compared" if number == 1 else f"compared-{number}"
    return Section(
        identity,
        f"Compared with {name}",
        (lead, results, f"Caution: {' '.join(warnings)}" if warnings else ""),
        (TableBlock(_table(identity, comparisons)),),
    )


def verdict(comparison: Comparison) -> str:
    """Which model is better, and how certain that is, in a sentence.

    Args:
        comparison: Counts of two models on the same samples.
    """
    paired = comparison.paired
    if paired.first + paired.second == 0:
        bound = f"{100 * paired.interval[1]:.1f} points"
        return f"the models agree on every image; the difference is below {bound} (95 % interval)."
    split = (
        f"only this model on {whole(paired.first)} images, only the other on "
        f"{whole(paired.second)}; McNemar p {_p_value(paired.p_value)}"
    )
    if paired.p_value > SIGNIFICANCE or paired.first == paired.second:
        return f"no significant difference ({split})."
    better = "this model is better" if paired.first > paired.second else "the other is better"
    size = f"by {abs(paired.points):.1f} points"
    low, high = paired.interval
    if not low < 0 < high:
        least, most = sorted((abs(100 * low), abs(100 * high)))
        size += f", 95 % interval {least:.1f} to {most:.1f}"
    return f"{better} {size} ({split})."


def _p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def _table(identity: str, comparisons: Sequence[Comparison]) -> Table:
    return Table(
        f"{identity}-table",
        "Images by verdict on the two models",
        named("Verdict", "Both", "Only this", "Only the other", "Neither", "Difference", "p"),
        tuple(_row(comparison) for comparison in comparisons),
        "Difference in percentage points with its 95 % interval (Newcombe, paired data); p value "
        "of McNemar's exact two-sided test.",
    )


def _row(comparison: Comparison) -> tuple[Cell, ...]:
    paired = comparison.paired
    low, high = (100 * bound for bound in paired.interval)
    counts = (paired.both, paired.first, paired.second, paired.neither)
    return (
        Cell(ROW_LABEL[comparison.quantity]),
        *(Cell(whole(count)) for count in counts),
        Cell(f"{paired.points:+.1f}", f"[{low:+.1f}, {high:+.1f}]"),
        Cell(f"{paired.p_value:.2g}"),
    )
