"""SVG as escaped text: elements, and drawings for a page or a file."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape

from tempering.report.palette import drawing_css


def element(tag: str, *children: Markup | str, **attributes: str | float) -> Markup:
    """An element with escaped attributes and children.

    Example:
        >>> str(element("text", "a < b", x=1.5, class_="quiet"))
        '<text x="1.5" class="quiet">a &lt; b</text>'
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
    )
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{tag}{written}>{inner}</{tag}>")


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 2):g}"


def join(*parts: Markup) -> Markup:
    """Concatenate elements."""
    return Markup("").join(parts)


@dataclass(frozen=True)
class Chart:
    """A drawing in units of about a pixel.

    Attributes:
        title: Title.
        description: Alternative text.
        width: Width of the drawing.
        height: Height of the drawing.
        body: Its elements.
    """

    title: str
    description: str
    width: float
    height: float
    body: Markup


def inline(chart: Chart, identity: str) -> Markup:
    """A chart for a page whose stylesheet has the styles of charts."""
    return element(
        "svg",
        element("title", chart.title, id=f"{identity}-title"),
        element("desc", chart.description, id=f"{identity}-desc"),
        chart.body,
        class_="chart",
        viewBox=f"0 0 {_number(chart.width)} {_number(chart.height)}",
        role="img",
        aria_labelledby=f"{identity}-title {identity}-desc",
    )


def standalone(*charts: Chart) -> str:
    """Charts side by side in one SVG file with its own style and background."""
    gap, head = 24.0, 34.0
    width = sum(chart.width for chart in charts) + gap * (len(charts) + 1)
    height = max(chart.height for chart in charts) + head + gap
    parts, left = [element("rect", class_="ground", width=width, height=height)], gap
    for chart in charts:
        parts.append(element("text", chart.title, x=left, y=24, class_="strong"))
        parts.append(element("g", chart.body, transform=f"translate({_number(left)} {head:g})"))
        left += chart.width + gap
    return element(
        "svg",
        element("title", "; ".join(chart.title for chart in charts)),
        element("desc", " ".join(chart.description for chart in charts)),
        element("style", Markup(drawing_css())),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        class_="chart",
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        width=width,
        height=height,
        role="img",
    )
