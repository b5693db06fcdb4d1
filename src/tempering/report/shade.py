"""Cells of a heat map."""

from __future__ import annotations

from tempering.core.record import Count
from tempering.report.tables import ABSENT, Cell, Tone
from tempering.report.wording import percent

GOOD, FAIR = 0.8, 0.4
"""Shares of images above which a cell is green, or yellow."""


def tone_of(share: float) -> Tone:
    """Green, yellow or red for a share that should be large."""
    return "good" if share >= GOOD else "fair" if share >= FAIR else "bad"


def shaded(count: Count | None, detail: str = "") -> Cell:
    """A share with its colour."""
    if count is None:
        return ABSENT
    return Cell(percent(count.fraction), detail, tone_of(count.fraction))
