"""Renders the tables of agreement.py from its records."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

Row = dict[str, Any]
SHOWN = 3
"""Listed disagreements of each row."""
WEAKER = 0.2
"""Robust accuracy, in points, by which ours may exceed the other library's without a flag."""

INTRO = """\
Both libraries attack the same first test images with the same network, threat model and settings.
The same criterion decides for both: an image within ball and box that the network misclassifies in
float32. Images that it misclassifies without attack count as successes.

*Exact* attacks are deterministic, so their verdicts must agree image by image up to rounding. In
float64 only rounding is left. In float32 there is another difference: the other libraries ascend
cross-entropy, whose gradient vanishes where the softmax of a confident network saturates; ours
ascend the log odds, whose gradient has the same direction and does not vanish. Such pixels move
differently. The first disagreements of each row are listed with both margins (difference of logits;
above 0 is misclassified). The other attacks draw random numbers, so counts are compared, as means
over seeds (+- standard deviation); *flagged* are attacks that leave more than 0.2 points more
images robust than the other library. *Together*: images that are robust under all attacks of one
library with the same seed.
"""


def render(rows: Sequence[Row]) -> str:
    """All tables, by network."""
    parts = ["# Attacks: agreement with other libraries\n", INTRO]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cell = row["cell"]
        key = (cell["network"], cell["weights"], cell["n"])
        groups.setdefault(key, []).append(row)
    for group in groups.values():
        parts.append(_section(group))
    return "\n".join(parts)


def _section(rows: Sequence[Row]) -> str:
    cell, about, place = rows[0]["cell"], rows[0]["network"], rows[0]["environment"]
    right = cell["n"] - rows[0]["clean_wrong"]
    lines = [
        f"## {cell['network']}, {cell['n']} images\n",
        f"Weights `{cell['weights']}`; {about['recipe']}. Clean correct: {right}. "
        f"Batches of {cell['batch_size']}, threads: {cell['threads']}; "
        f"{place['processor']}, torch {place['torch']}.\n",
    ]
    exact = [row for row in rows if row["exact"]]
    drawn = [row for row in rows if not row["exact"]]
    if exact:
        lines += [EXACT, *map(_exact, exact), ""]
        listed = [_listed(row, sample) for row in exact for sample in row["disagreements"][:SHOWN]]
        if listed:
            lines += [LISTED, *listed, ""]
    if drawn:
        alike: dict[tuple[str, str], list[Row]] = {}
        for row in drawn:
            alike.setdefault((row["cell"]["attack"], row["cell"]["threat"]), []).append(row)
        lines += [DRAWN, *map(_drawn, alike.values())]
        lines += [_union(list(alike.values())), ""]
    return "\n".join(lines)


EXACT = (
    "| exact attack | threat | precision | library | robust: ours, theirs | only ours succeeds "
    "| only theirs succeeds | of these by rounding | largest difference of a pixel |\n"
    "| :--- | :--- | :--- | :--- | ---: | ---: | ---: | ---: | ---: |"
)
LISTED = (
    "| disagreement | threat | precision | library | image | margin: ours | margin: theirs "
    "| pixels that differ | by at most |\n"
    "| :--- | :--- | :--- | :--- | ---: | ---: | ---: | ---: | ---: |"
)
DRAWN = (
    "| attack | threat | library | seeds | robust: ours | theirs | only ours succeeds "
    "| only theirs succeeds | seconds: ours, theirs | |\n"
    "| :--- | :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | :--- |"
)


def _sides(row: Row) -> tuple[int, int]:
    return int(row["ours"] or "0", 16), int(row["theirs"] or "0", 16)


def _counts(row: Row) -> tuple[str, int, int]:
    """Robust images of both libraries, and images on which only one succeeds."""
    ours, theirs = _sides(row)
    n = row["cell"]["n"]
    standing = f"{n - ours.bit_count()}, {n - theirs.bit_count()}"
    return standing, (ours & ~theirs).bit_count(), (theirs & ~ours).bit_count()


def _start(row: Row, exact: bool = False) -> str:
    cell = row["cell"]
    dtype = f"| {cell.get('dtype', 'float32')} " if exact else ""
    return f"| {cell['attack']} | {cell['threat']} {dtype}| {cell['peer']} "


def _exact(row: Row) -> str:
    standing, only_ours, only_theirs = _counts(row)
    rounding = sum(sample["rounding"] for sample in row["disagreements"])
    return _start(row, exact=True) + (
        f"| {standing} | {only_ours} | {only_theirs} | {rounding} "
        f"| {row['largest_pixel_difference']:.2g} |"
    )


def _listed(row: Row, case: Row) -> str:
    return _start(row, exact=True) + (
        f"| {case['sample']} | {case['ours']:.3g} | {case['theirs']:.3g} | {case['pixels']} "
        f"| {case['largest']:.2g} |"
    )


def _drawn(rows: Sequence[Row]) -> str:
    """The row of one attack over all seeds."""
    n = rows[0]["cell"]["n"]
    counts = [_sides(row) for row in rows]
    ours, theirs = ([n - side.bit_count() for side in sides] for sides in zip(*counts, strict=True))
    only = [_counts(row)[1:] for row in rows]
    seconds = [mean(row["seconds"][side] for row in rows) for side in ("ours", "theirs")]
    return _start(rows[0]) + (
        f"| {len(rows)} | {_spread(ours)} | {_spread(theirs)} "
        f"| {mean(pair[0] for pair in only):.3g} | {mean(pair[1] for pair in only):.3g} "
        f"| {seconds[0]:.0f}, {seconds[1]:.0f} | {_flag(ours, theirs, n, WEAKER)} |"
    )


def _union(attacks: Sequence[Sequence[Row]]) -> str:
    """Worst case over all attacks of a library, for each seed; without seeds its single result."""
    n = attacks[0][0]["cell"]["n"]
    standing: tuple[list[int], list[int]] = ([], [])
    for seed in range(max(map(len, attacks))):
        broken = [0, 0]
        for rows in attacks:
            for side, bits in enumerate(_sides(rows[min(seed, len(rows) - 1)])):
                broken[side] |= bits
        for side, bits in enumerate(broken):
            standing[side].append(n - bits.bit_count())
    return (
        f"| all {len(attacks)} together | | | {len(standing[0])} | {_spread(standing[0])} "
        f"| {_spread(standing[1])} | | | | {_flag(*standing, n, 0.0)} |"
    )


def _spread(values: Sequence[int]) -> str:
    if len(values) == 1:
        return str(values[0])
    return f"{mean(values):.1f} +- {stdev(values):.1f}"


def _flag(ours: Sequence[int], theirs: Sequence[int], n: int, most: float) -> str:
    behind = 100 * (mean(ours) - mean(theirs)) / n
    return f"**flagged: {behind:.2f} points weaker**" if behind > most + 1e-9 else ""
