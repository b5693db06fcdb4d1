"""One line from 0 to 100 %: proven, withstood, broken."""

from __future__ import annotations

from markupsafe import Markup

from tempering.core.records import Assessment, Count
from tempering.report import choosing
from tempering.report.legend import Key, legend
from tempering.report.reading import Run
from tempering.report.svg import Chart, element, join
from tempering.report.wording import percent

WIDTH, LEFT, SCALE = 380.0, 8.0, 356.0
HIGH = 18.0
"""Height of the bar."""
APART = 4.5
"""How far the intervals of both bounds are above and below the middle of the bar."""

CLOSE = 0.45
"""Labels of values that are closer than this stand above each other."""


def bounds_chart(run: Run) -> Chart:
    """Robust accuracy from both sides, beside clean and undefended accuracy."""
    bounds, clean = run.summary.robust_accuracy, run.summary.clean_accuracy
    keys = [Key("withstood everything tried", "after", faded=True)]
    if bounds.lower > 0:
        keys.insert(0, Key("proven", "after"))
    head, top = legend(keys, WIDTH)
    before = choosing.measured(run.records, "standard", "undefended").get(choosing.LAST)
    close = before is not None and abs(before.robust.fraction - clean) < CLOSE
    y = top + (36 if close else 20)
    parts = [head, _ground(y), _bar(0, bounds.upper, y, "fill-after faded stroke-after")]
    if bounds.lower > 0:
        parts.append(_bar(0, bounds.lower, y, "fill-after"))
    found = run.summary
    if isinstance(found, Assessment) and found.certified_correct:
        lower = Count(hits=found.certified_correct, n=found.n)
        parts.append(_interval(*lower.interval, y - APART))
        parts.append(_interval(*bounds.interval, y + APART))
    else:
        parts.append(_interval(*bounds.interval, y))
    parts.append(_note(clean, f"clean {percent(clean)}", y - 6, y, "ink"))
    said = f"Proven {percent(bounds.lower)}, at most {percent(bounds.upper)}"
    said += f"; clean {percent(clean)}"
    if before is not None:
        share = before.robust.fraction
        above = y - (22 if close else 6)
        parts.append(_note(share, f"undefended {percent(share)}", above, y, "before"))
        said += f"; undefended {percent(share)}"
    parts.append(_ticks(y + HIGH))
    return Chart("Robust accuracy from both sides", said + ".", WIDTH, y + HIGH + 24, join(*parts))


def _x(value: float) -> float:
    return LEFT + SCALE * value


def _ground(y: float) -> Markup:
    return element("rect", x=LEFT, y=y, width=SCALE, height=HIGH, class_="empty")


def _bar(low: float, high: float, y: float, look: str) -> Markup:
    width = max(SCALE * (high - low), 1.0)
    return element("rect", x=_x(low), y=y, width=width, height=HIGH, class_=look)


def _interval(low: float, high: float, y: float) -> Markup:
    middle = y + HIGH / 2
    ends = "".join(f"M{_x(at):.2f} {middle - 3:g}V{middle + 3:g}" for at in (low, high))
    return element("path", d=f"M{_x(low):.2f} {middle:g}H{_x(high):.2f}{ends}", class_="whisker")


def _note(value: float, label: str, text_y: float, y: float, mark: str) -> Markup:
    """A mark across the bar with its label above."""
    anchor = "start" if value < 0.35 else "end"
    look = "whisker" if mark == "ink" else f"line stroke-{mark}"
    x = max(_x(value) - 4, 2) if anchor == "start" else min(_x(value) + 4, WIDTH - 2)
    return join(
        element("line", x1=_x(value), x2=_x(value), y1=y - 3, y2=y + HIGH + 3, class_=look),
        element("text", label, x=x, y=text_y, text_anchor=anchor),
    )


def _ticks(y: float) -> Markup:
    return join(
        *(
            element(
                "text",
                f"{round(100 * at)}" + (" %" if at == 1 else ""),
                x=_x(at),
                y=y + 17,
                class_="quiet",
                text_anchor="start" if at == 0 else "end" if at == 1 else "middle",
            )
            for at in (0.0, 0.25, 0.5, 0.75, 1.0)
        )
    )
