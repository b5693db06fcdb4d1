"""Renders the table of evaluation.py from its records."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from statistics import median_low
from typing import Any

Row = dict[str, Any]

INTRO = """\
Both evaluate the same first test images of the same network under the same threat model, starting
from the images that are classified correctly. The same criterion decides on success: an image
within ball and box that the network misclassifies in float32. *Passes* are forward passes and
backward passes to the input, each of a single image; ours include trial runs, all examinations and
the curve, theirs are counted by a wrapper around the network. Certification makes no such passes;
its time is part of *seconds*. *Robust*: correct under all attacks. *Attacks alone* are the stages
of the last column with their trial runs, which is all that AutoAttack does. Images and batches are
the same. Both ran with the seeds below, alternately where both were missing. Each row of the
records contains the time of day and the time of one image's gradient just before and after; the
notes repeat the latter, which shows differences in the speed of the machine. Medians are given with
minimum and maximum; passes and stages are those of the run with the median number of robust images.
"""


def render(rows: Sequence[Row]) -> str:
    """One line for each model and evaluator, and their comparison."""
    lines = ["# Evaluation: comparison with AutoAttack\n", INTRO, HEAD]
    subjects = list(dict.fromkeys(_subject(row) for row in rows))
    notes: list[str] = []
    for network, threat in subjects:
        own = [row for row in rows if _subject(row) == (network, threat)]
        sides: dict[str, list[Row]] = {row["cell"]["side"]: [] for row in own}
        for row in own:
            sides[row["cell"]["side"]].append(row)
        lines += [_line(side, runs) for side, runs in sides.items()]
        if len(sides) == 2:
            lines.append(_compared(network, threat, sides["ours"], sides["theirs"]))
        notes.append(_note(own))
    return "\n".join([*lines, "", *notes, ""])


def _subject(row: Row) -> tuple[str, str]:
    return row["cell"]["network"], row["cell"]["threat"]


def typical(runs: Sequence[Row]) -> Row:
    """The run with the median number of robust images; the lower one of an even number."""
    return sorted(runs, key=itemgetter("standing"))[(len(runs) - 1) // 2]


HEAD = """\
| network | threat | images | evaluator | clean correct | robust | passes: forward, backward | \
seconds | robust after each stage |
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


def _compared(network: str, threat: str, ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    own, other = typical(ours), typical(theirs)
    needed = other["forwards"] + other["backwards"]
    passes = needed / (own["forwards"] + own["backwards"])
    time = _middle(theirs, "seconds")
    seconds = time / _middle(ours, "seconds")
    more = own["standing"] - other["standing"]
    verdict = "equal" if more == 0 else f"{abs(more)} {'more' if more > 0 else 'fewer'} robust"
    alone = needed / own["attacking"]
    attacking = time / _middle(ours, "attacking_seconds")
    return (
        f"| {network} | {threat} | | *compared* | | {verdict} | 1/{passes:.1f} of the passes; "
        f"attacks alone 1/{alone:.1f} | 1/{seconds:.1f} of the time; "
        f"attacks alone 1/{attacking:.1f} | |"
    )


def _middle(runs: Sequence[Row], name: str) -> float:
    return float(median_low(run[name] for run in runs))


def _spread(runs: Sequence[Row], name: str) -> str:
    """Minimum and maximum, if there are several runs."""
    values = [run[name] for run in runs]
    low, high = (
        f"{value:.3g}" if value % 1 else f"{value:g}" for value in (min(values), max(values))
    )
    return f" ({low} to {high})" if len(values) > 1 else ""


def _pace(runs: Sequence[Row], side: str) -> str:
    """Time of a gradient beside the runs of one evaluator, if it was measured."""
    paces = [pace for run in runs if run["cell"]["side"] == side for pace in run.get("pace", ())]
    if not paces:
        return ""
    middle, low, high = (
        f"{1e6 * pace:.3g}" for pace in (median_low(paces), min(paces), max(paces))
    )
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
        f"`{cell['network']}` under {cell['threat']}: weights `{cell['weights']}`, "
        f"{runs[0]['about']}; {told}; "
        f"batches of {cell['batch_size']}, {cell['threads']} threads, {place['processor']}, "
        f"torch {place['torch']}.\n"
    )
