"""Colours of reports in light and dark mode (the temper colours of steel)."""

from __future__ import annotations

PALETTE: dict[str, tuple[str, str]] = {
    "paper": ("#fbfaf7", "#141619"),
    "raised": ("#f3f1ea", "#1d2024"),
    "ink": ("#22252a", "#e8e5de"),
    "muted": ("#5a5e65", "#a9abad"),
    "rule": ("#d9d5ca", "#363a40"),
    "straw": ("#8a6100", "#dcb65c"),
    "bronze": ("#a4491f", "#e5986a"),
    "purple": ("#6d4380", "#bf9bd5"),
    "blue": ("#1d5c8f", "#7fb6e6"),
    "good": ("#25683b", "#82c796"),
    "fair": ("#8a6100", "#dcb65c"),
    "bad": ("#a3262e", "#f18f8b"),
}
"""Name -> colour in light and in dark mode."""

SERIES = {"before": "bronze", "after": "blue", "third": "purple", "fourth": "straw"}
"""Mark -> name of its colour."""

_MARKS = """
.chart text{{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
fill:{ink};font-variant-numeric:tabular-nums}}
.chart .quiet{{fill:{muted}}}
.chart .strong{{font-weight:600}}
.chart .grid{{stroke:{rule};stroke-width:1}}
.chart .axis{{stroke:{muted};stroke-width:1}}
.chart .rule{{stroke:{muted};stroke-width:1;stroke-dasharray:3 3}}
.chart .whisker{{stroke:{ink};stroke-width:1.5;fill:none}}
.chart .ground{{fill:{paper}}}
.chart .line{{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}}
.chart .band{{fill-opacity:.17}}
.chart .faded{{fill-opacity:.2;stroke-width:1.2}}
.chart .ring{{fill:none;stroke:{ink};stroke-width:1.5}}
.chart image{{image-rendering:pixelated}}
"""


def _marks(colours: dict[str, str]) -> str:
    series = "".join(
        f".chart .fill-{mark}{{fill:{colours[name]}}}"
        f".chart .stroke-{mark}{{stroke:{colours[name]}}}\n"
        for mark, name in SERIES.items()
    )
    return _MARKS.format(**colours) + series


def _shade(which: int) -> dict[str, str]:
    return {name: both[which] for name, both in PALETTE.items()}


def page_css() -> str:
    """Style of a page: colours as custom properties in both modes, and styles of charts."""
    light, dark = (
        "".join(f"--{name}:{colour};" for name, colour in _shade(which).items()) for which in (0, 1)
    )
    variables = {name: f"var(--{name})" for name in PALETTE}
    return (
        f":root{{{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"@media print{{:root{{{light}}}}}\n{_marks(variables)}"
    )


def drawing_css() -> str:
    """Style of charts in an SVG file, in both modes."""
    dark = _marks(_shade(1))
    return f"{_marks(_shade(0))}@media (prefers-color-scheme:dark){{{dark}}}"
