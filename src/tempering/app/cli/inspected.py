"""The result of a data inspection as text."""

from __future__ import annotations

import textwrap

from tempering.data.inspection import Inspection

SHOWN = 10
"""Findings of each kind that are listed."""
MOST_CLASSES = 30
"""Classes that are listed each by itself."""
WIDTH = 100
"""Columns of a line of names."""
FEW = 5
"""Of more classes, how many of the largest and of the smallest are listed."""


def text(inspection: Inspection) -> str:
    """Class balance, pixel ranges and findings, for a terminal."""
    channels, height, width = inspection.shape
    lines = [
        f"{inspection.address}, split {inspection.split}, hash {inspection.data_hash}",
        f"images {channels} x {height} x {width}, {len(inspection.classes)} classes",
        "",
    ]
    shown = inspection.classes
    if len(shown) > MOST_CLASSES:
        shown = _largest_and_smallest(inspection)
    names = [name[:18] for name in shown]
    wide = max(map(len, [*names, "class"]))
    lines.append("class".ljust(wide) + "".join(f"{part:>12}" for part in inspection.parts))
    for name, full in zip(names, shown, strict=True):
        counts = "".join(f"{part.per_class[full]:>12,}" for part in inspection.parts.values())
        lines.append(name.ljust(wide) + counts)
    if left := len(inspection.classes) - len(shown):
        lines.insert(
            3,
            f"the {FEW} largest and the {FEW} smallest classes; {left:,} more lie between "
            "(all of them: --json)",
        )
    lines.append(
        "all".ljust(wide) + "".join(f"{part.n:>12,}" for part in inspection.parts.values())
    )
    lines.append("")
    for name, part in inspection.parts.items():
        mean = ", ".join(f"{value:.4f}" for value in part.mean)
        std = ", ".join(f"{value:.4f}" for value in part.std)
        span = f"pixels {part.minimum:g} to {part.maximum:g}, mean {mean}, std {std}"
        lines.append(f"{name}: {span}")
    lines.append("")
    for kind, pairs in (
        ("duplicates within a split", inspection.duplicates),
        ("leaks between splits", inspection.leaks),
        ("equal images with different labels", inspection.contradictions),
    ):
        lines.append(f"{kind}: {len(pairs) or 'none'}")
        lines += [f"  {pair}" for pair in pairs[:SHOWN]]
        if len(pairs) > SHOWN:
            lines.append(f"  and {len(pairs) - SHOWN} more")
    if inspection.missing:
        more = len(inspection.missing) - SHOWN
        listed = ", ".join(inspection.missing[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        lines += textwrap.wrap(f"classes without images: {listed}", WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _largest_and_smallest(inspection: Inspection) -> tuple[str, ...]:
    """Some classes by the number of their training images, largest first."""
    counts = next(iter(inspection.parts.values())).per_class
    ordered = sorted(inspection.classes, key=lambda name: -counts[name])
    return (*ordered[:FEW], *ordered[-FEW:])
