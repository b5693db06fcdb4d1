"""Images of the data as a drawing."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tempering.report.section import Picture
from tempering.report.svg import Chart, element, join

SIDE, GAP, LINE, ACROSS = 64.0, 14.0, 20.0, 6
LETTERS = 9
"""A longer name is cut; the description has it whole."""


def sheet_chart(title: str, pictures: Sequence[Picture]) -> Chart:
    """Images in rows, each with its name below.

    Args:
        title: What they are.
        pictures: In reading order.
    """
    parts: list[Markup] = []
    for at, picture in enumerate(pictures):
        row, column = divmod(at, ACROSS)
        x, y = column * (SIDE + GAP), row * (SIDE + LINE + GAP)
        parts.append(element("image", x=x, y=y, width=SIDE, height=SIDE, href=picture.source))
        under = element("text", _cut(picture.label), x=x + SIDE / 2, y=y + SIDE + 15)
        parts.append(element("g", under, text_anchor="middle"))
    rows = -(-len(pictures) // ACROSS)
    width = min(len(pictures), ACROSS) * (SIDE + GAP) - GAP
    said = f"{len(pictures)} images: " + ", ".join(picture.label for picture in pictures) + "."
    return Chart(title, said, width, rows * (SIDE + LINE + GAP), join(*parts))


def _cut(name: str) -> str:
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"
