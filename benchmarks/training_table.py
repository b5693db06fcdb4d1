"""Renders the tables of training.py from its records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tempering.core.records import Count
from training_ways import CONTROL, LEFT_OUT, SHIPPED, STEP_SIZE, STEPS, WAYS

Row = dict[str, Any]

LEVELS = (0.5, 0.7, 0.8, 0.85, 0.9)
"""Robust accuracies that are waited for."""
OURS = ("default@threshold", "paper@threshold")
"""Ways that loops of other libraries are compared with."""
GOAL = 3.0

INTRO = """\
# Robust accuracy against time of training

MNIST, {threat}, the network of the recipe `default`, {data} images, the same first weights;
{threads} thread(s), {processor}, seed {seed}. Time is that of the processor, which other processes
hardly disturb; measuring is not counted. *Robust*: of {n} validation images (never test images;
guards look at others), those that withstand {attacks}, whose gradients pass straight
through a stage, and 40 steps of PGD in the box that the stage makes of the ball, by the gradient of
the network behind it. Without a stage this is PGD in the ball; behind `threshold` the box holds
images that no attacker can make, so the true number is at least as high. Brackets hold 95 % Wilson
intervals.

A way is `objective@stage`: `threshold` is the hard threshold at 0.5 of the recipe `default`,
`none` is no stage. All ways share AdamW at 3e-3 with a warm-up of the rate,
batches of {batch}, and an average of the weights, which is judged, though plain loops have none.
Every PGD that has parameters of its own takes {steps} steps of {step_size:g}. In ours eps grows
over the first 5 % of the steps that the time allows, and the guards of `temper harden` run, in
time that counts. `{shipped}` is the shipped recipe, on images that are not shifted: its rate falls
to 0 over its own 2,000 steps.

Of other libraries, `art` is `AdversarialTrainer` with `ProjectedGradientDescentPyTorch` on all
samples, and `torchattacks` a loop around `torchattacks.PGD`. `{control}` is the
same loop with settings of ours: 3 steps, eps that grows.
"""
FASTER = """\
## How much sooner ours get there

Time of a loop until robust accuracy is reached, over the time of ours. The first number is the
least that the points allow: the last point at which the loop is still below, over the first at
which ours is not. In brackets: both times interpolated between points. `>`: the loop never gets
there within its time, so the number is a bound. The goal is {goal:g} times.
"""


@dataclass(frozen=True)
class Reached:
    """When a training reaches a robust accuracy, in seconds of the processor.

    Attributes:
        before: The last point before it does; 0 if the first one does.
        at: The first point that does.
        between: Interpolated between both.
    """

    before: float
    at: float
    between: float


def reached(row: Row, level: float) -> Reached | None:
    """When a training first reaches a level; None if it never does."""
    before, below = 0.0, 0.0
    for point in row["curve"]:
        share = point["robust"] / row["n"]
        if share >= level:
            part = (level - below) / (share - below) if share > below else 1.0
            return Reached(before, point["cpu"], before + part * (point["cpu"] - before))
        before, below = point["cpu"], share
    return None


def render(rows: Sequence[Row]) -> str:
    """All tables."""
    if not rows:
        return "# Robust accuracy against time of training\n"
    order = list(WAYS)
    rows = sorted(rows, key=lambda row: (order.index(row["cell"]["way"]), row["cell"]["seed"]))
    return "\n".join([_intro(rows), *_reaching(rows), "", *_faster(rows), "", _left_out(rows), ""])


def _intro(rows: Sequence[Row]) -> str:
    first = rows[0]
    cell = first["cell"]
    paces = [1e6 * pace for row in rows for pace in row["pace"]]
    text = INTRO.format(
        **{name: cell[name] for name in ("threads", "seed")},
        threat=first["threat"],
        data=f"{first['train']:,}",
        processor=first["environment"]["processor"],
        n=first["n"],
        attacks=" and ".join(f"`{attack}`" for attack in first["attacks"]),
        batch=first["batch_size"],
        steps=STEPS,
        step_size=STEP_SIZE,
        shipped=SHIPPED,
        control=CONTROL,
    )
    return (
        f"{text}\nAn input gradient of an image took {min(paces):.0f} to {max(paces):.0f} us "
        "around the trainings: more means a busier machine.\n"
    )


def _reaching(rows: Sequence[Row]) -> list[str]:
    """Time to each level, and where each way ends."""
    head = ["training", *(f"{100 * level:g} %" for level in LEVELS)]
    head += ["highest", "at the end", "clean", "time", "steps"]
    lines = ["## Seconds until robust accuracy is reached", "", _line(head), _rule(len(head))]
    for row in rows:
        cells = [f"`{row['cell']['way']}`"]
        for level in LEVELS:
            when = reached(row, level)
            cells.append("never" if when is None else f"{when.between:.1f}")
        last, n = row["curve"][-1], row["n"]
        cells.append(f"{100 * max(point['robust'] for point in row['curve']) / n:.1f} %")
        cells.append(str(Count(hits=int(last["robust"]), n=n)))
        cells.append(f"{100 * last['clean'] / n:.1f} %")
        cells += [f"{last['cpu']:.0f} s", f"{last['steps']:,}"]
        lines.append(_line(cells))
    lines += ["", *(note for row in rows if (note := _ended(row)))]
    return lines


def _ended(row: Row) -> str:
    """How a training went that did not simply run out of time."""
    name = f"`{row['cell']['way']}`"
    if row["switched"] >= 0:
        return f"{name} overfitted to its single step: PGD took over at step {row['switched']:,}."
    return "" if row["stop"] == "time" else f"{name} ended before: {row['stop']}."


def _faster(rows: Sequence[Row]) -> list[str]:
    """A table for each way of ours that loops are compared with."""
    by_name = {row["cell"]["way"]: row for row in rows}
    peers = [row for row in rows if WAYS[row["cell"]["way"]].peer]
    lines = [FASTER.format(goal=GOAL)]
    for name in OURS:
        if name not in by_name or not peers:
            continue
        head = [f"`{name}` beside", *(f"{100 * level:g} %" for level in LEVELS)]
        lines += [_line(head), _rule(len(head))]
        for peer in peers:
            cells = [_ratio(by_name[name], peer, level) for level in LEVELS]
            lines.append(_line([f"`{peer['cell']['way']}`", *cells]))
        lines.append("")
    return lines


def _ratio(ours: Row, theirs: Row, level: float) -> str:
    own, other = reached(ours, level), reached(theirs, level)
    if own is None:
        return "neither" if other is None else "ours never"
    if other is None:
        return f"> {theirs['curve'][-1]['cpu'] / own.at:.1f}, never"
    least = other.before / own.at
    between = other.between / own.between if own.between else math.inf
    return f"{least:.1f} ({between:.1f})"


def _left_out(rows: Sequence[Row]) -> str:
    known = {row["cell"]["way"] for row in rows}
    reasons = "; ".join(f"`{name}` {reason}" for name, reason in LEFT_OUT.items())
    text = f"## Not measured\n\nObjectives that are left out: {reasons}."
    if missing := [f"`{name}`" for name in WAYS if name not in known]:
        text += f" Not yet measured: {', '.join(missing)} (`--only`)."
    return text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return f"| :--- |{' ---: |' * (columns - 1)}"
