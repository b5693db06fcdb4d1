"""Renders the tables of attacks.py from its records."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

Row = dict[str, Any]
OURS = "tempering"
AS_NEAR = 1.01
"""Largest ratio of our median distance to theirs that counts as equal."""

INTRO = """\
Each row is one library and one attack, with the same images, settings, batches and threads as its
neighbours, interleaved with them in one process. The same criterion decides for all: an image
within ball and box that the network misclassifies in float32. *Passes* are forward passes and
backward passes to the input, each of a single sample. *Over the floor* is the time of the fastest
run beyond the minimum cost of its passes: at the best batch size (32 to 512), memory format and
number of threads (1 or 2) found for the network. *Ours is faster* compares medians. It is stated
only if we have at least as many successes and, for minimum-norm attacks, a median distance at most
1 % larger; two variants of ours are compared separately. Images are the first test images that the
network classifies correctly. Failures have infinite distance.

torchattacks' C&W has no search over the constant and is left out. ART's makes a line search of
about ten passes in each step, and CleverHans' has no early stopping, so they run in the smaller
case only. HopSkipJump and the boundary attack are limited by iterations or queries, depending on
the library, so passes differ. The random network (`cifar-resnet18`) only shows speed: every sample
takes all steps.
"""


def render(rows: Sequence[Row]) -> str:
    """All tables, one for each network and setting."""
    parts = ["# Attacks: speed\n", INTRO]
    for group in _groups(rows, ("network", "weights", "threads", "batch_size", "model")):
        parts.append(_section(group))
    return "\n".join(parts)


def _groups(rows: Sequence[Row], names: tuple[str, ...]) -> list[list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row["cell"][name] for name in names), []).append(row)
    return list(groups.values())


def _section(rows: Sequence[Row]) -> str:
    first = rows[0]
    cell, about = first["cell"], first["network"]
    how = {
        "found": "contiguous, gradients of its weights on",
        "prepared": "frozen, channels-last",
    }[cell["model"]]
    lines = [f"## {cell['network']}, {cell['threads']} threads, network {how}\n"]
    told = [f"Weights `{cell['weights']}`; {about['recipe']}."]
    if "clean" in about:
        told.append(
            f"Clean correct: {about['clean']} of {about['test_n']} test images; {about['robust']} "
            f"robust under {about['robust_under']}."
        )
    told.append(f"{_floors(rows)} Batches of {cell['batch_size']}.")
    place = first["environment"]
    told.append(f"{place['processor']}, torch {place['torch']}, Python {place['python']}.")
    lines += [" ".join(told) + "\n", HEAD]
    for members in _groups(rows, ("case", "threat", "n", "repeats")):
        lines += [_line(row, members) for row in members]
    return "\n".join(lines) + "\n"


HEAD = (
    "| attack | threat | images | library | forward, backward passes per sample "
    "| seconds: median [min, max] | over the floor | successes | median distance "
    "| ours is faster |\n"
    "| :--- | :--- | ---: | :--- | ---: | ---: | ---: | ---: | ---: | :--- |"
)


def _floors(rows: Sequence[Row]) -> str:
    """Minimum cost of passes; a range if measured in several processes."""
    told = []
    for kind, word in (("forward", "forward"), ("gradient", "forward and backward")):
        best = [row["floor"][kind] for row in rows]
        costs = [1e3 * cost[kind] for cost in best]
        low, high = f"{min(costs):.3g}", f"{max(costs):.3g}"
        where = best[costs.index(min(costs))]
        told.append(
            f"{word} {low if low == high else f'{low} to {high}'} ms "
            f"({where['layout']}, batch {where['batch']}, {where['threads']} threads)"
        )
    return f"Cheapest passes: {'; '.join(told)}."


def _line(row: Row, members: Sequence[Row]) -> str:
    cell = row["cell"]
    name = f"{row['library']} {row['version']}" if row["library"] != OURS else f"**{OURS}**"
    if row["variant"]:
        name += f", {row['variant']}"
    start = f"| {cell['case']} | {cell['threat']} | {cell['n']} | {name} "
    if "seconds" not in row:
        return start + f"| | {row['failure']} | | | | |"
    times, n = row["seconds"], cell["n"]
    spread = f" [{min(times):.3g}, {max(times):.3g}]" if len(times) > 1 else ""
    outside = f", {row['outside']} outside" if row["outside"] else ""
    over = min(times) / row["floor_seconds"] - 1 if row["floor_seconds"] else 0.0
    distance = ""
    if row["distance"]:
        middle = row["median_distance"]
        distance = "more than half fail" if middle is None else f"{middle:.4g}"
    return start + (
        f"| {row['forward'] / n:.5g}, {row['backward'] / n:.5g} | {median(times):.3g}{spread} "
        f"| {100 * over:+.0f} % | {row['successes']}{outside} | {distance} "
        f"| {_ratio(row, members)} |"
    )


def _ratio(row: Row, members: Sequence[Row]) -> str:
    """Speed-up of ours over this library, for each variant of ours."""
    if row["library"] == OURS:
        return ""
    told = []
    for ours in members:
        if ours["library"] != OURS:
            continue
        form = f"{ours['variant']}: " if ours["variant"] else ""
        told.append(form + _compared(ours, row))
    return "; ".join(told)


def _compared(ours: Row, theirs: Row) -> str:
    if "seconds" not in ours:
        return "ours failed"
    fewer = theirs["successes"] - ours["successes"]
    if not ours["successes"] and not theirs["successes"]:
        return "not stated: nothing succeeds"
    if fewer > 0:
        return f"not stated: ours has {fewer} fewer successes"
    if theirs["distance"] and theirs["median_distance"] is not None:
        near = ours["median_distance"]
        if near is None:
            return "not stated: more than half of ours fail"
        if near > AS_NEAR * theirs["median_distance"]:
            longer = 100 * (near / theirs["median_distance"] - 1)
            return f"not stated: ours is {longer:.1f} % farther"
    return f"{median(theirs['seconds']) / median(ours['seconds']):.2f}x"
