"""The table of evaluation.py, from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

INTRO = """\
Both sides judge the same first test images of the same network, under the same threat; both start
from what is right without attack, and one judge decides: an image within ball and box that the
network, in float32, gets wrong. *Passes* are single images sent forward, and back to the image;
ours include the survey, all examinations and the curve, theirs are counted by a wrapper around the
network. Bounds are no passes: their time is in *seconds* alone. *Standing* is what withstood
everything. *Attacks alone* are the stages of the last column, the survey among them, which is all
that theirs does. Images and batches are the same. Theirs ran once, with the seed below; ours three
times, with that seed and the two after it, and medians count, the least and the most behind them.
"""


def render(rows: Sequence[Row]) -> str:
    """One line a model and side, and how they compare."""
    lines = ["# Evaluation: ours beside AutoAttack\n", INTRO, HEAD]
    networks = list(dict.fromkeys(row["cell"]["network"] for row in rows))
    notes = []
    for network in networks:
        sides = {row["cell"]["side"]: row for row in rows if row["cell"]["network"] == network}
        lines += [_line(side, row) for side, row in sides.items()]
        if len(sides) == 2:
            lines.append(_compared(network, sides["ours"], sides["theirs"]))
        notes.append(_note(next(iter(sides.values()))))
    return "\n".join([*lines, "", *notes, ""])


HEAD = """\
| network | threat | images | side | right without attack | standing | passes: forward, backward | \
seconds | what stood after each stage |
| :--- | :--- | ---: | :--- | ---: | ---: | ---: | ---: | :--- |"""


def _line(side: str, row: Row) -> str:
    cell = row["cell"]
    who = {"ours": "**tempering**, fast", "theirs": "pyautoattack, standard"}[side]
    stages = ", ".join(f"{name} {count}" for name, count in row["stages"].items())
    return (
        f"| {cell['network']} | {cell['threat']} | {cell['n']} | {who} | {row['clean']} "
        f"| {_standing(row)} | {row['forwards']:,}, {row['backwards']:,} "
        f"| {_seconds(row)} | {stages} |"
    )


def _compared(network: str, ours: Row, theirs: Row) -> str:
    needed = theirs["forwards"] + theirs["backwards"]
    passes = needed / (ours["forwards"] + ours["backwards"])
    seconds = theirs["seconds"] / ours["seconds"]
    more = ours["standing"] - theirs["standing"]
    found = "as many fall" if more == 0 else f"{abs(more)} {'fewer' if more > 0 else 'more'} fall"
    alone = needed / ours["attacking"]
    attacking = theirs["seconds"] / ours["attacking_seconds"]
    return (
        f"| {network} | | | *compared* | | {found} | 1/{passes:.1f} of the passes; "
        f"attacks alone 1/{alone:.1f} | 1/{seconds:.1f} of the time; "
        f"attacks alone 1/{attacking:.1f} | |"
    )


def _standing(row: Row) -> str:
    each = row.get("standing_each", [])
    spread = f" ({min(each)} to {max(each)})" if len(each) > 1 else ""
    return f"{row['standing']}{spread}"


def _seconds(row: Row) -> str:
    each = row.get("seconds_each", [])
    spread = f" ({min(each):.3g} to {max(each):.3g})" if len(each) > 1 else ""
    return f"{row['seconds']:.3g}{spread}"


def _note(row: Row) -> str:
    cell, place = row["cell"], row["environment"]
    return (
        f"`{cell['network']}`: weights `{cell['weights']}`, {row['about']}; seed {cell['seed']}, "
        f"batches of {cell['batch_size']}, {cell['threads']} threads, {place['processor']}, "
        f"torch {place['torch']}.\n"
    )
