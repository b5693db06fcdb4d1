"""Figures of a run: accuracy against eps, before and after, and training curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tempering.core.records import AnyRecord, Epoch, Measurement, Round, Stop, Subject
from tempering.report import choosing
from tempering.report.bars import Bar, Group, bar_chart
from tempering.report.lines import Point, Series, axis, in_percent, line_chart
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Table, named
from tempering.report.wording import (
    BRIEF,
    MARKS,
    SUBJECTS,
    attack,
    counted,
    listed,
    percent,
    radius,
    whole,
)

TRAINED = {
    "undefended": "undefended model",
    "single-pass": "single-pass training",
    "surrogate": "surrogate",
    "hardened": "hardened model",
}


def bars(records: Sequence[AnyRecord]) -> Chart | None:
    """White-box accuracy by attack, one bar a model."""
    found = {
        subject: choosing.measured(records, "standard", subject) for subject in choosing.MODELS
    }
    found = {subject: by for subject, by in found.items() if choosing.attacks_only(by)}
    names = choosing.in_order([name for by_attack in found.values() for name in by_attack])
    groups = [
        Group(
            attack(name),
            tuple(
                Bar(SUBJECTS[subject], *_share(by_attack.get(name)), MARKS[subject])
                for subject, by_attack in found.items()
            ),
        )
        for name in names
        if name != "availability"
    ]
    if not groups:
        return None
    said = [
        f"{attack(name)}: "
        + ", ".join(
            f"{SUBJECTS[subject]} {percent(by[name].robust.fraction)}"
            for subject, by in found.items()
            if name in by
        )
        for name in names
        if name != "availability"
    ]
    return bar_chart("White-box accuracy by attack", "; ".join(said) + ".", groups)


def _share(measurement: Measurement | None) -> tuple[float | None, tuple[float, float] | None]:
    if measurement is None:
        return None, None
    return measurement.robust.fraction, measurement.robust.interval


def sweep(records: Sequence[AnyRecord], eps: float | None) -> Chart | None:
    """Accuracy against eps, with its interval as a band.

    Args:
        records: Of the run.
        eps: The threat's, to mark.
    """
    lines, said = [], []
    for subject in choosing.MODELS:
        points = _sweep(records, subject)
        if len(points) > 1:
            dash = "6 4" if subject == "undefended" else "none"
            spots = tuple(
                Point(one.eps, one.robust.fraction, one.robust.interval) for one in points
            )
            lines.append(Series(SUBJECTS[subject], spots, MARKS[subject], dash))
            said.append(
                f"{SUBJECTS[subject]}: "
                + ", ".join(f"{percent(p.y)} at {radius(p.x)}" for p in spots)
            )
    if not lines:
        return None
    highest = max(point.x for line in lines for point in line.points)
    rule = None if eps is None else (eps, f"threat, {radius(eps)}")
    return line_chart(
        "Accuracy against eps",
        "; ".join(said) + ".",
        lines,
        axis(0.0, highest, "eps"),
        axis(0.0, 1.0, "accuracy", in_percent),
        rule,
    )


def _sweep(records: Sequence[AnyRecord], subject: Subject) -> list[Measurement]:
    points = choosing.swept(records, subject)
    clean = choosing.measured(records, "standard", subject).get(choosing.FIRST)
    if points and clean is not None and points[0].eps > 0:
        points.insert(0, clean.model_copy(update={"eps": 0.0}))
    return points


def sweep_table(records: Sequence[AnyRecord]) -> Table | None:
    """The numbers behind the curve."""
    found = {
        subject: {one.eps: one for one in _sweep(records, subject)} for subject in choosing.MODELS
    }
    found = {subject: points for subject, points in found.items() if points}
    if not found:
        return None
    sizes = sorted({eps for points in found.values() for eps in points})
    names = dict.fromkeys(
        attack(one.attack) for points in found.values() for one in points.values() if one.eps > 0
    )
    rows = tuple(
        (
            Cell(radius(eps)),
            *(
                counted(points[eps].robust) if eps in points else ABSENT
                for points in found.values()
            ),
        )
        for eps in sizes
    )
    heads = named("eps", *(BRIEF[subject].capitalize() for subject in found))
    caption = f"Accuracy against eps: {listed(list(names))}"
    return Table("sweep", caption, heads, rows)


def training(records: Sequence[AnyRecord], model: str) -> list[Chart]:
    """Accuracy and loss by epoch, on training and on validation data."""
    epochs = [one for one in choosing.of_kind(records, Epoch) if one.model == model]
    epochs = list({one.epoch: one for one in epochs}.values())
    if not epochs:
        return []
    across = axis(epochs[0].epoch, epochs[-1].epoch, "epoch", least=1.0)
    accuracy = [
        _series("training", "third", [(e.epoch, e.train_accuracy.fraction) for e in epochs], "6 4"),
        Series(
            "validation",
            tuple(
                Point(e.epoch, e.validation_accuracy.fraction, e.validation_accuracy.interval)
                for e in epochs
            ),
            "after",
        ),
    ]
    loss = [
        _series("training", "third", [(e.epoch, e.train_loss) for e in epochs], "6 4"),
        _series("validation", "after", [(e.epoch, e.validation_loss) for e in epochs]),
    ]
    last = epochs[-1]
    who = TRAINED[model]
    least = min([p.y for line in accuracy for p in line.points])
    charts = [
        line_chart(
            f"Accuracy, {who}",
            f"After epoch {last.epoch}: training {percent(last.train_accuracy.fraction)}, "
            f"validation {percent(last.validation_accuracy.fraction)}.",
            accuracy,
            across,
            axis(min(0.8, least), 1.0, "accuracy", in_percent),
        )
    ]
    losses = [point.y for line in loss for point in line.points]
    if losses:
        charts.append(
            line_chart(
                f"Loss, {who}",
                f"After epoch {last.epoch}: training {last.train_loss:.4g}, "
                f"validation {last.validation_loss:.4g}.",
                loss,
                across,
                axis(0.0, max(losses), "loss"),
            )
        )
    return charts


def _series(
    label: str, mark: str, spots: Sequence[tuple[float, float]], dash: str = "none"
) -> Series:
    finite = tuple(Point(x, y) for x, y in spots if math.isfinite(y))
    return Series(label, finite, mark, dash)


def epochs_table(records: Sequence[AnyRecord]) -> Table | None:
    """The numbers behind the training curves."""
    rows = tuple(
        (
            Cell(f"{TRAINED[one.model]}, {one.epoch}"),
            Cell(whole(one.step)),
            counted(one.train_accuracy),
            Cell(f"{one.train_loss:.4f}"),
            counted(one.validation_accuracy),
            Cell(f"{one.validation_loss:.4f}"),
            Cell(f"{one.learning_rate:.3g}"),
        )
        for one in choosing.of_kind(records, Epoch)
    )
    heads = named(
        "Epoch",
        "Step",
        "Training accuracy",
        "Training loss",
        "Validation accuracy",
        "Validation loss",
        "Learning rate",
    )
    return Table("epochs", "Training by epoch", heads, rows) if rows else None


def rounds(records: Sequence[AnyRecord]) -> Chart | None:
    """Validation accuracy by round, clean and worst case, the chosen round ringed."""
    found = list({one.round: one for one in choosing.of_kind(records, Round)}.values())
    if not found:
        return None
    stops = choosing.of_kind(records, Stop)
    best = stops[-1].best_round if stops else None
    lines = [
        Series(
            "clean",
            tuple(Point(r.round, r.clean.fraction, r.clean.interval) for r in found),
            "third",
            "6 4",
        ),
        Series(
            "worst case",
            tuple(
                Point(r.round, r.worst.fraction, r.worst.interval, r.round == best) for r in found
            ),
            "after",
        ),
    ]
    chosen = [r for r in found if r.round == best]
    said = f"Over {whole(len(found))} rounds the worst case went from "
    said += f"{percent(found[0].worst.fraction)} to {percent(found[-1].worst.fraction)}"
    if chosen:
        said += f"; round {best} with {percent(chosen[0].worst.fraction)} was kept"
    least = min(min(r.worst.interval[0], r.clean.interval[0]) for r in found)
    return line_chart(
        "Validation accuracy by round",
        said + ".",
        lines,
        axis(found[0].round, found[-1].round, "round", least=1.0),
        axis(min(0.8, least), 1.0, "accuracy", in_percent),
    )
