"""The result of a data inspection as text."""

from __future__ import annotations

from tempering.data.inspection import Inspection

SHOWN = 10
"""Findings of each kind that are listed."""
MOST_CLASSES = 30
"""Classes that are listed each by itself."""


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
        shown = shown[:SHOWN]
    names = [name[:18] for name in shown]
    wide = max(len(name) for name in [*names, "smallest class"])
    lines.append("class".ljust(wide) + "".join(f"{part:>12}" for part in inspection.parts))
    for name, full in zip(names, shown, strict=True):
        counts = "".join(f"{part.per_class[full]:>12,}" for part in inspection.parts.values())
        lines.append(name.ljust(wide) + counts)
    if left := len(inspection.classes) - len(shown):
        lines.append(f"and {left:,} more classes (all of them: --json)")
        for title, extreme in (("smallest class", min), ("largest class", max)):
            sizes = [extreme(part.per_class.values()) for part in inspection.parts.values()]
            lines.append(title.ljust(wide) + "".join(f"{size:>12,}" for size in sizes))
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
        lines.append(f"classes without images: {listed}")
    return "\n".join(lines)
