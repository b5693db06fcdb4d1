"""Accuracy under common corruptions as lines of text."""

from __future__ import annotations

from tempering.core.corruption_records import CorruptionSummary


def corruption_lines(summary: CorruptionSummary) -> list[str]:
    """Lines for the terminal: a heading, then one line per corruption."""
    width = max(14, *map(len, summary.by_corruption))
    heading = "common corruptions (not adversarial), accuracy in % at severity 1 to 5"
    lines = [f"{heading}, {summary.n} images"]
    for name, counts in summary.by_corruption.items():
        shares = "".join(f"{100 * hits / summary.n:7.1f}" for hits in counts.correct)
        lines.append(f"  {name:<{width}} {shares}")
    return lines
