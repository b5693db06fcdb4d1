"""Accuracy under common corruptions as lines of text."""

from __future__ import annotations

from tempering.core.shifts import ShiftSummary


def corruptions(found: ShiftSummary) -> list[str]:
    """Lines for the terminal: a head that says what this is not, and one line a corruption."""
    width = max(map(len, found.by_corruption))
    lines = [f"common corruptions (not adversarial), severity 1 to 5, % right of {found.n} images"]
    for name, one in found.by_corruption.items():
        shares = "".join(f"{100 * hits / found.n:7.1f}" for hits in one.correct)
        lines.append(f"  {name:<{max(width, 14)}} {shares}")
    return lines
