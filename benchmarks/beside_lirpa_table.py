"""Renders the section of certificates.py that stands beside auto_LiRPA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

TEXT = """\
Fourteen small networks of random weights, four images each, float32, one thread. *Gap*: the
distance of our bounds from the smallest sampled margins, over that of auto_LiRPA 0.7.1; below 1
ours are tighter. Milliseconds are of processor time an image. Theirs were recorded on another
machine, where they use alpha-CROWN with 100 steps; ours takes 20, and 10 for hidden bounds. Our
bounds account for the rounding of the network, theirs do not: that is the gap of `strided-28`.
"""
HERE = """\
The columns *here* are of a checkout of auto_LiRPA on this machine.
"""


def section(rows: Sequence[Row]) -> tuple[str, str, str, list[str]]:
    """Title, text, head and lines of the table."""
    here = any("gap_here" in row for row in rows)
    head = "| network, threat | method | gap | ms | their ms, recorded | forward pass, ms |"
    head += " gap here | their ms here |" if here else ""
    return "Beside auto_LiRPA", TEXT + HERE * here, head, [_line(row, here) for row in rows]


def _line(row: Row, here: bool) -> str:
    cell = row["cell"]
    cells = [
        f"{cell['network']}, {cell['threat']}",
        cell["method"],
        _number(row["gap"], ".3f"),
        _number(row["milliseconds"], ".3g"),
        _number(row["their_milliseconds"], ".3g"),
        _number(row["forward_milliseconds"], ".2g"),
    ]
    if here:
        cells += [_number(row.get("gap_here"), ".3f")]
        cells += [_number(row.get("their_milliseconds_here"), ".3g")]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, form: str) -> str:
    """A number, or that auto_LiRPA has none."""
    return "fails" if value is None else format(value, form)
