"""The table of evaluation.py, from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from statistics import median_low
from typing import Any

Row = dict[str, Any]

INTRO = """\
Both sides judge the same first test images of the same network, under the same threat; both start
from what is right without attack, and one judge decides: an image within ball and box that the
network, in float32, gets wrong. *Passes* are single images sent forward, and back to the image;
ours include the survey, all examinations and the curve, theirs are counted by a wrapper around the
network. Bounds are no passes: their time is in *seconds* alone. *Standing* is what withstood
everything. *Attacks alone* are the stages of the last column, the survey among them, which is all
that theirs does. Images and batches are the same. Both sides ran with the seeds below, by turns
where both were missing: each row of the records says when, and what the gradient of an image took
just before and just after. The notes repeat that: a side beside which it took longer had the slower
machine. Medians count, the least and the most behind them, and passes and stages are those of the
run of which the median number stood.
"""


def render(rows: Sequence[Row]) -> str:
    """One line a model and side, and how they compare."""
    lines = ["# Evaluation: ours beside AutoAttack\n", INTRO, HEAD]
    networks = list(dict.fromkeys(row["cell"]["network"] for row in rows))
    notes = []
    for network in networks:
        own = [row for row in rows if row["cell"]["network"] == network]
        sides: dict[str, list[Row]] = {row["cell"]["side"]: [] for row in own}
        for row in own:
            sides[row["cell"]["side"]].append(row)
        lines += [_line(side, runs) for side, runs in sides.items()]
        if len(sides) == 2:
            lines.append(_compared(network, sides["ours"], sides["theirs"]))
        notes.append(_note(own))
    return "\n".join([*lines, "", *notes, ""])


def typical(runs: Sequence[Row]) -> Row:
    """The run of which the median number stood; of an even number the lower one."""
    return sorted(runs, key=itemgetter("standing"))[(len(runs) - 1) // 2]


HEAD = """\
| network | threat | images | side | right without attack | standing | passes: forward, backward | \
seconds | what stood after each stage |
| :--- | :--- | ---: | :--- | ---: | ---: | ---: | ---: | :--- |"""


def _line(side: str, runs: Sequence[Row]) -> str:
    row = typical(runs)
    cell = row["cell"]
    who = {"ours": "**tempering**, fast", "theirs": "pyautoattack, standard"}[side]
    stages = ", ".join(f"{name} {count}" for name, count in row["stages"].items())
    standing = f"{row['standing']}{_spread(runs, 'standing')}"
    seconds = f"{_middle(runs, 'seconds'):.3g}{_spread(runs, 'seconds')}"
    return (
        f"| {cell['network']} | {cell['threat']} | {cell['n']} | {who} | {row['clean']} "
        f"| {standing} | {row['forwards']:,}, {row['backwards']:,} | {seconds} | {stages} |"
    )


def _compared(network: str, ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    own, other = typical(ours), typical(theirs)
    needed = other["forwards"] + other["backwards"]
    passes = needed / (own["forwards"] + own["backwards"])
    time = _middle(theirs, "seconds")
    seconds = time / _middle(ours, "seconds")
    more = own["standing"] - other["standing"]
    found = "as many fall" if more == 0 else f"{abs(more)} {'fewer' if more > 0 else 'more'} fall"
    alone = needed / own["attacking"]
    attacking = time / _middle(ours, "attacking_seconds")
    return (
        f"| {network} | | | *compared* | | {found} | 1/{passes:.1f} of the passes; "
        f"attacks alone 1/{alone:.1f} | 1/{seconds:.1f} of the time; "
        f"attacks alone 1/{attacking:.1f} | |"
    )


def _middle(runs: Sequence[Row], name: str) -> float:
    return float(median_low(run[name] for run in runs))


def _spread(runs: Sequence[Row], name: str) -> str:
    """Least and most, where there are several."""
    each = [run[name] for run in runs]
    low, high = (f"{value:.3g}" if value % 1 else f"{value:g}" for value in (min(each), max(each)))
    return f" ({low} to {high})" if len(each) > 1 else ""


def _pace(runs: Sequence[Row], side: str) -> str:
    """What a gradient took beside the runs of a side, where that was measured."""
    paces = [one for run in runs if run["cell"]["side"] == side for one in run.get("pace", ())]
    if not paces:
        return ""
    middle, low, high = (f"{1e6 * one:.3g}" for one in (median_low(paces), min(paces), max(paces)))
    return f" (a gradient took {middle} us, {low} to {high})"


def _note(runs: Sequence[Row]) -> str:
    cell, place = runs[0]["cell"], runs[0]["environment"]
    seeds = {
        side: sorted(run["cell"]["seed"] for run in runs if run["cell"]["side"] == side)
        for side in ("ours", "theirs")
    }
    told = "; ".join(
        f"seeds of {side} {', '.join(map(str, own))}{_pace(runs, side)}"
        for side, own in seeds.items()
    )
    return (
        f"`{cell['network']}`: weights `{cell['weights']}`, {runs[0]['about']}; {told}; "
        f"batches of {cell['batch_size']}, {cell['threads']} threads, {place['processor']}, "
        f"torch {place['torch']}.\n"
    )
