"""The legend above a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tempering.report.svg import element, join

LETTER, SWATCH, ROW = 6.7, 22.0, 18.0


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        label: Text.
        mark: Colour.
        faded: Whether it is drawn pale.
        dash: Dash pattern of a line; None for bars.
    """

    label: str
    mark: str
    faded: bool = False
    dash: str | None = None


def legend(keys: Sequence[Key], width: float) -> tuple[Markup, float]:
    """Draw entries in rows.

    Returns:
        The elements, and the y at which the chart begins.
    """
    across = _across(keys, width)
    parts: list[Markup] = []
    x, y = 0.0, 0.0
    for at, key in enumerate(keys):
        if at and at % across == 0:
            x, y = 0.0, y + ROW
        parts.append(_swatch(key, x, y))
        parts.append(element("text", key.label, x=x + SWATCH, y=y + 12))
        x += _needs(key)
    return join(*parts), y + ROW + 8


def _needs(key: Key) -> float:
    return SWATCH + LETTER * len(key.label) + 14


def _across(keys: Sequence[Key], width: float) -> int:
    """Entries per row: the most that fit in every row."""
    for across in range(len(keys), 1, -1):
        rows = [keys[at : at + across] for at in range(0, len(keys), across)]
        if all(sum(map(_needs, row)) <= width + 14 for row in rows):
            return -(-len(keys) // len(rows))
    return 1


def _swatch(key: Key, x: float, y: float) -> Markup:
    if key.dash is None:
        classes = f"fill-{key.mark}" + (f" faded stroke-{key.mark}" if key.faded else "")
        return element("rect", x=x + 2, y=y + 3, width=13, height=10, rx=1.5, class_=classes)
    return element(
        "line",
        x1=x,
        x2=x + 17,
        y1=y + 8,
        y2=y + 8,
        class_=f"line stroke-{key.mark}",
        stroke_dasharray=key.dash,
    )
