"""A comparison of two models as lines of text."""

from __future__ import annotations

from tempering.core.comparisons import Against, Judged, Quantity


def comparison(found: Against) -> list[str]:
    """Lines for the terminal: a head, one line a quantity, warnings."""
    parts: dict[Quantity, object] = {"clean": found.clean, "robust": found.robust}
    if found.certified is not None:
        parts["certified"] = found.certified
    n = found.robust.n
    lines = [f"compared with    {_who(found.second)}, the second, on the same {n} images"]
    for quantity, pairs in parts.items():
        lines.append(f"  {quantity:<14} {pairs}")
    return [*lines, *(f"  note           {one}" for one in found.warnings)]


def _who(side: Judged) -> str:
    return side.model if side.run is None else f"{side.model} (run {side.run})"
