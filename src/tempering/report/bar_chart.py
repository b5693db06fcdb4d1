"""Horizontal bar charts: one group per attack, one bar per model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tempering.report.legend import Key, legend
from tempering.report.svg import Chart, element, join
from tempering.report.wording import percent

WIDTH, LEFT, SCALE = 380.0, 4.0, 296.0
THICK, GAP, HEADING, BETWEEN = 13.0, 3.0, 20.0, 12.0
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Bar:
    """A bar.

    Attributes:
        label: Text of the legend; equal labels share an entry.
        value: Fraction; None if it was not measured.
        interval: Bounds of the value, fractions.
        mark: Colour: `before`, `after`, `third` or `fourth`.
        faded: Drawn pale, for a number of another source.
    """

    label: str
    value: float | None
    interval: tuple[float, float] | None = None
    mark: str = "after"
    faded: bool = False


@dataclass(frozen=True)
class BarGroup:
    """Bars under one label."""

    label: str
    bars: tuple[Bar, ...]


def bar_chart(title: str, description: str, groups: Sequence[BarGroup]) -> Chart:
    """Horizontal bars from 0 to 100 %."""
    keys = [Key(bar.label, bar.mark, bar.faded) for group in groups for bar in group.bars]
    head, y = legend(list(dict.fromkeys(keys)), WIDTH)
    drawn: list[Markup] = []
    for group in groups:
        drawn.append(element("text", group.label, x=LEFT, y=y + 13, class_="strong"))
        y += HEADING
        drawn.append(_lines(y, y + len(group.bars) * (THICK + GAP)))
        for bar in group.bars:
            drawn.append(_bar(bar, y))
            y += THICK + GAP
        y += BETWEEN
    return Chart(title, description, WIDTH, y + 12, join(head, *drawn, ticks(_x, y - BETWEEN)))


def _lines(top: float, bottom: float) -> Markup:
    """Grid lines at each quarter, behind the bars of a group."""
    ends = {"y1": top - 2, "y2": bottom}
    return join(
        *(
            element("line", x1=_x(at), x2=_x(at), **ends, class_="grid" if at else "axis")
            for at in QUARTERS
        )
    )


def ticks(x: Callable[[float], float], y: float, last: str = "middle") -> Markup:
    """Labels of 0 to 100 % below a bar; `last` anchors the text of the last one."""
    anchors = {0.0: "start", 1.0: last}
    return join(
        *(
            element(
                "text",
                f"{round(100 * at)}" + (" %" if at == 1 else ""),
                x=x(at),
                y=y + 17,
                class_="quiet",
                text_anchor=anchors.get(at, "middle"),
            )
            for at in QUARTERS
        )
    )


def _x(value: float) -> float:
    return LEFT + SCALE * value


def _bar(bar: Bar, y: float) -> Markup:
    middle = y + THICK / 2 + 4
    if bar.value is None:
        return element("text", "not measured", x=LEFT + 4, y=middle, class_="quiet")
    length = max(SCALE * bar.value, 1.5)
    classes = f"fill-{bar.mark}" + (f" faded stroke-{bar.mark}" if bar.faded else "")
    parts = [element("rect", x=LEFT, y=y, width=length, height=THICK, rx=1.5, class_=classes)]
    end = bar.value
    if bar.interval is not None:
        low, high = bar.interval
        end = max(end, high)
        parts.append(whisker(_x(low), _x(high), y + THICK / 2))
    look = "quiet" if bar.faded else "ink"
    parts.append(element("text", percent(bar.value), x=_x(end) + 6, y=middle, class_=look))
    return join(*parts)


def whisker(low: float, high: float, y: float) -> Markup:
    """An interval as a line with ends."""
    above, below = f"{y - 3:g}", f"{y + 3:g}"
    ends = (f"M{x:.2f} {above}V{below}" for x in (low, high))
    return element("path", d=f"M{low:.2f} {y:g}H{high:.2f}" + "".join(ends), class_="whisker")
