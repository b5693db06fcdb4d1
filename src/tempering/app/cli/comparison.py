"""A paired comparison of two models as lines of text."""

from __future__ import annotations

from tempering.core.comparisons import ComparisonSummary, Quantity


def comparison_lines(comparison: ComparisonSummary) -> list[str]:
    """Lines for the terminal: a heading, one line per quantity, warnings."""
    quantities: dict[Quantity, object] = {"clean": comparison.clean, "robust": comparison.robust}
    if comparison.certified is not None:
        quantities["certified"] = comparison.certified
    n, second = comparison.robust.n, comparison.second
    return [
        f"compared with    {second}, the second model, on the same {n} images",
        *(f"  {quantity:<14} {paired}" for quantity, paired in quantities.items()),
        *(f"  note           {warning}" for warning in comparison.warnings),
    ]
