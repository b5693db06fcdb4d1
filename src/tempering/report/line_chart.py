"""Line charts, with bands for confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markupsafe import Markup

from tempering.report.legend import LETTER, Key, legend
from tempering.report.svg import Chart, element, join
from tempering.report.wording import percent, radius

WIDTH, HEIGHT = 380.0, 200.0
LEFT, RIGHT, BOTTOM = 46.0, 16.0, 42.0
GAP = 5.0
"""Distance of a label from its mark; about half the height of a label."""
MANY = 40
"""A line with more points is drawn without dots."""
FLAT = 0.005
"""Change of accuracy below which a curve counts as flat."""
ISOLATED = 2.0
"""A last eps this many times the one before it is left out of a chart: curves of earlier versions
end with the eps at which every image can become gray, which under L0 and L2 is far from all
others."""
NEAR = 1 + 1e-9
"""A point is inside of an axis that it exceeds by rounding alone."""
WIDEST = 2.0
"""Axes of eps end at this multiple of the threat's eps, unless curves go beyond it."""


@dataclass(frozen=True)
class Point:
    """A point of a line.

    Attributes:
        x: Horizontal value.
        y: Vertical value.
        interval: Bounds of y, if known.
        ringed: Whether it is marked as the selected one.
    """

    x: float
    y: float
    interval: tuple[float, float] | None = None
    ringed: bool = False


@dataclass(frozen=True)
class Series:
    """A line.

    Attributes:
        label: Text of the legend.
        points: Points from left to right.
        mark: Colour: `before`, `after`, `third` or `fourth`.
        dash: Dash pattern; solid by default.
        dots: Whether points are drawn, if they are few.
    """

    label: str
    points: tuple[Point, ...]
    mark: str
    dash: str = "none"
    dots: bool = True


@dataclass(frozen=True)
class Axis:
    """A range with ticks at round numbers.

    Attributes:
        low: Start.
        high: End.
        ticks: Labelled values.
        label: Quantity.
        write: Format of a tick label.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    label: str
    write: Callable[[float], str]


def plain(value: float) -> str:
    """A number without trailing zeros."""
    return f"{value:g}"


def in_percent(value: float) -> str:
    """A fraction in percent, for tick labels."""
    return f"{100 * value:g} %"


def axis(
    low: float, high: float, label: str, write: Callable[[float], str] = plain, least: float = 0.0
) -> Axis:
    """An axis that covers a range, with ticks 1, 2 or 5 times a power of ten apart.

    Args:
        low: Smallest value to show.
        high: Largest value to show.
        label: Quantity.
        write: Format of a tick label.
        least: Smallest distance of ticks.
    """
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = max(least, next(power * by for by in (1, 2, 5, 10) if power * by >= span / 5))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(round(step * at, 10) for at in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks, label, write)


def line_chart(
    title: str,
    description: str,
    series: Sequence[Series],
    across: Axis,
    up: Axis,
    rule: tuple[float, str] | None = None,
) -> Chart:
    """Lines over two axes.

    Args:
        title: Title.
        description: Alternative text.
        series: The lines.
        across: The horizontal axis.
        up: The vertical axis.
        rule: A horizontal value to mark, and its label.
    """
    keys = [Key(line.label, line.mark, dash=line.dash) for line in series]
    head, top = legend(keys, WIDTH)
    top += 12
    frame = _Frame(across, up, top)
    parts = [head, _grid(frame)]
    if rule is not None and across.low <= rule[0] <= across.high:
        parts.append(_rule(frame, *rule, series))
    parts += [_band(frame, line) for line in series]
    parts += [_line(frame, line) for line in series]
    return Chart(title, description, WIDTH, top + HEIGHT + BOTTOM, join(*parts))


def accuracy_by_eps_chart(title: str, lines: Sequence[Series], eps: float | None) -> Chart:
    """Accuracy by eps; the horizontal axis ends where all curves become flat.

    A last eps far from all others is left out; the description has it.

    Args:
        title: Title.
        lines: Curves; x is eps and y is accuracy, a fraction.
        eps: The threat's eps, to mark; the axis always includes it if the curves do.
    """
    sizes = sorted({point.x for line in lines for point in line.points})
    last = sizes[-1]
    if len(sizes) > 2 and last > ISOLATED * sizes[-2] and eps != last:
        last = sizes[-2]
    end = min(last, max(map(_flat_from, lines)))
    if eps is not None:
        end = max(end, min(eps, last))
    across = axis(0.0, end or last, "eps")
    if eps and end <= WIDEST * eps < across.high:
        ticks = tuple(at for at in across.ticks if at <= WIDEST * eps)
        across = replace(across, high=WIDEST * eps, ticks=ticks)
    shown = [
        replace(line, points=tuple(point for point in line.points if point.x <= across.high * NEAR))
        for line in lines
    ]
    description = "; ".join(
        f"{line.label}: "
        + ", ".join(f"{percent(point.y)} at {radius(point.x)}" for point in line.points)
        for line in lines
    )
    rule = None if eps is None else (eps, f"threat, {radius(eps)}")
    return line_chart(
        title, f"{description}.", shown, across, axis(0.0, 1.0, "accuracy", in_percent), rule
    )


def _flat_from(line: Series) -> float:
    """The smallest x from which the line stays at its last value."""
    last = line.points[-1].y
    changing = [at for at, point in enumerate(line.points) if abs(point.y - last) > FLAT]
    return line.points[min(changing[-1] + 1 if changing else 0, len(line.points) - 1)].x


@dataclass(frozen=True)
class _Frame:
    across: Axis
    up: Axis
    top: float

    def x(self, value: float) -> float:
        share = (value - self.across.low) / (self.across.high - self.across.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.up.low) / (self.up.high - self.up.low)
        return self.top + (1 - min(max(share, 0.0), 1.0)) * HEIGHT

    def spot(self, x: float, y: float) -> str:
        return f"{self.x(x):.1f} {self.y(y):.1f}"


def _grid(frame: _Frame) -> Markup:
    bottom = frame.top + HEIGHT
    parts = []
    for at in frame.up.ticks:
        y = frame.y(at)
        look = "axis" if at == frame.up.low else "grid"
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_=look))
        label = frame.up.write(at)
        parts.append(element("text", label, x=LEFT - 6, y=y + 4, text_anchor="end", class_="quiet"))
    for at in frame.across.ticks:
        x, label = frame.x(at), frame.across.write(at)
        parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(
            element("text", label, x=x, y=bottom + 18, text_anchor="middle", class_="quiet")
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(element("text", frame.across.label, x=middle, y=bottom + 36, text_anchor="middle"))
    return join(*parts)


def _rule(frame: _Frame, value: float, label: str, series: Sequence[Series]) -> Markup:
    """A vertical line; its label is placed where it is furthest from all curves."""
    x, bottom, long = frame.x(value), frame.top + HEIGHT, LETTER * len(label)
    heights = [bottom - 8, *(frame.top + share * HEIGHT for share in (0.75, 0.5, 0.25)), frame.top]
    places = [
        (side, max(height, frame.top + 14))
        for side in (1, -1)
        if LEFT <= x + side * (GAP + long) <= WIDTH - RIGHT
        for height in heights
    ]

    def room(place: tuple[int, float]) -> float:
        side, height = place
        across = [x + side * (GAP + share / 8 * long) for share in range(9)]
        return min((_gap(frame, line, across, height - GAP) for line in series), default=0.0)

    side, height = max(places, key=room, default=(1, frame.top + 14))
    return join(
        element("line", x1=x, x2=x, y1=frame.top, y2=bottom, class_="rule"),
        element(
            "text",
            label,
            x=x + GAP * side,
            y=height,
            text_anchor="end" if side < 0 else "start",
            class_="quiet",
        ),
    )


def _gap(frame: _Frame, series: Series, across: Sequence[float], height: float) -> float:
    """Vertical distance of a line from a height, over some places; 0 if it crosses."""
    ups = [frame.y(value) - height for place in across for value in _at(frame, series, place)]
    if not ups:
        return math.inf
    return 0.0 if min(ups) <= 0 <= max(ups) else min(abs(up) for up in ups)


def _at(frame: _Frame, series: Series, x: float) -> list[float]:
    """The value of a line at a place of the drawing; empty beyond its ends."""
    for left, right in pairwise(series.points):
        low, high = frame.x(left.x), frame.x(right.x)
        if low <= x <= high and high > low:
            return [left.y + (x - low) / (high - low) * (right.y - left.y)]
    return []


def _band(frame: _Frame, series: Series) -> Markup:
    bounds = [(point.x, *point.interval) for point in series.points if point.interval is not None]
    if len(bounds) < 2:
        return Markup("")
    above = [frame.spot(x, high) for x, _, high in bounds]
    below = [frame.spot(x, low) for x, low, _ in reversed(bounds)]
    return element("path", d=f"M{'L'.join(above + below)}Z", class_=f"band fill-{series.mark}")


def _line(frame: _Frame, series: Series) -> Markup:
    spots = [frame.spot(point.x, point.y) for point in series.points]
    parts: list[Markup] = []
    if len(spots) > 1:
        look, path = f"line stroke-{series.mark}", f"M{'L'.join(spots)}"
        parts.append(element("path", d=path, class_=look, stroke_dasharray=series.dash))
    for point in series.points:
        place = {"cx": frame.x(point.x), "cy": frame.y(point.y)}
        if series.dots and len(series.points) <= MANY:
            parts.append(element("circle", **place, r=2.6, class_=f"fill-{series.mark}"))
        if point.ringed:
            parts.append(element("circle", **place, r=6.5, class_="ring"))
    return join(*parts)
