"""The result of a data inspection as text."""

from __future__ import annotations

from tempering.data.inspection import Inspection

SHOWN = 10
"""Findings of each kind that are listed."""


def text(found: Inspection) -> str:
    """Class balance, pixel ranges and findings, for a terminal."""
    channels, height, width = found.shape
    lines = [
        f"{found.address}, split {found.split}, hash {found.data_hash}",
        f"images {channels} x {height} x {width}, {len(found.classes)} classes",
        "",
    ]
    names = [name[:18] for name in found.classes]
    wide = max(len(name) for name in [*names, "class"])
    lines.append("class".ljust(wide) + "".join(f"{part:>12}" for part in found.parts))
    for name, full in zip(names, found.classes, strict=True):
        counts = "".join(f"{part.per_class[full]:>12,}" for part in found.parts.values())
        lines.append(name.ljust(wide) + counts)
    lines.append("all".ljust(wide) + "".join(f"{part.n:>12,}" for part in found.parts.values()))
    lines.append("")
    for name, part in found.parts.items():
        mean = ", ".join(f"{value:.4f}" for value in part.mean)
        std = ", ".join(f"{value:.4f}" for value in part.std)
        span = f"pixels {part.minimum:g} to {part.maximum:g}, mean {mean}, std {std}"
        lines.append(f"{name}: {span}")
    lines.append("")
    for kind, pairs in (
        ("duplicates within a split", found.duplicates),
        ("leaks between splits", found.leaks),
        ("equal images with different labels", found.contradictions),
    ):
        lines.append(f"{kind}: {len(pairs) or 'none'}")
        lines += [f"  {pair}" for pair in pairs[:SHOWN]]
        if len(pairs) > SHOWN:
            lines.append(f"  and {len(pairs) - SHOWN} more")
    if found.missing:
        lines.append(f"classes without images: {', '.join(found.missing)}")
    return "\n".join(lines)
