"""Section of a report: training curves, rounds and the stop reason."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tempering.core.records import AnyRecord, Epoch, Round, Stop
from tempering.report import selection
from tempering.report.line_chart import Point, Series, axis, in_percent, line_chart
from tempering.report.section import Section, drawn, tabled
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Column, Table, Tone, named
from tempering.report.wording import attack, counted, duration, percent, whole

TRAINED = {
    "undefended": "undefended model",
    "single-pass": "single-pass training",
    "surrogate": "surrogate",
    "hardened": "hardened model",
}
"""Models in words."""
MODELS = ("hardened", "undefended", "single-pass", "surrogate")
"""Order of the figures."""

AS_TRAINED, CLEAN = "training, as trained on", "validation, clean"
OBJECTIVE, CROSS_ENTROPY = "training, objective", "validation, cross-entropy"
"""What accuracies and losses of an epoch are of: training may see attacked images, and minimize
another loss."""

OUTCOMES: dict[str, Tone] = {
    "best": "good",
    "kept": "",
    "rolled back": "bad",
    "below floor": "bad",
}


def training_section(records: Sequence[AnyRecord]) -> Section | None:
    """Training curves and rounds, with validation data."""
    models = {epoch.model for epoch in selection.of_kind(records, Epoch)}
    names = [name for name in MODELS if name in models]
    drawings = [
        block
        for name in names
        for block in drawn(
            f"training-{name}",
            f"Training of the {TRAINED[name]}: accuracy with 95 % intervals, and loss.",
            training_charts(records, name),
        )
    ]
    round_chart = drawn(
        "rounds-chart",
        "Validation accuracy by round of retraining; the ring marks the selected round.",
        [rounds_chart(records)],
    )
    if not drawings and not round_chart:
        return None
    return Section(
        "training",
        "Training",
        (_stop_reason(records), "All choices were made on validation data, none on test data."),
        (
            *round_chart,
            *tabled([rounds_table(records)]),
            *drawings,
            *tabled([epochs_table(records)], folded=True),
        ),
    )


def _stop_reason(records: Sequence[AnyRecord]) -> str:
    stops = selection.of_kind(records, Stop)
    if not stops:
        return ""
    stop = stops[-1]
    selected = f" Round {stop.best_round} was selected." if stop.best_round >= 0 else ""
    return (
        f"Training ended by the rule {stop.rule} after {whole(stop.rounds)} rounds and "
        f"{whole(stop.steps)} steps: {stop.reason}.{selected}"
    )


def rounds_table(records: Sequence[AnyRecord]) -> Table | None:
    """Rounds with their outcome and its reason."""
    rounds = selection.of_kind(records, Round)
    names = list(dict.fromkeys(name for row in rounds for name in row.by_attack))
    rows = tuple(
        (
            Cell(str(row.round)),
            Cell(whole(row.step)),
            counted(row.clean),
            counted(row.worst),
            Cell(f"{row.gain:.3f}"),
            Cell(row.outcome, tone=OUTCOMES[row.outcome]),
            Cell(row.reason),
            *(counted(row.by_attack[n]) if n in row.by_attack else ABSENT for n in names),
            Cell(duration(row.seconds)),
        )
        for row in rounds
    )
    heads = (
        Column("Round", numeric=False),
        Column("Step"),
        Column("Clean"),
        Column("Worst case"),
        Column("Gain", detail="on validation data"),
        Column("Outcome", numeric=False),
        Column("Reason", numeric=False),
        *(Column(attack(name)) for name in names),
        Column("Time"),
    )
    return Table("rounds", "Rounds on validation data", heads, rows) if rows else None


def training_charts(records: Sequence[AnyRecord], model: str) -> list[Chart]:
    """Accuracy and loss by epoch, on training and validation data."""
    rows = [row for row in selection.of_kind(records, Epoch) if row.model == model]
    epochs = list({row.epoch: row for row in rows}.values())
    if not epochs:
        return []
    across = axis(epochs[0].epoch, epochs[-1].epoch, "epoch", least=1.0)
    accuracy = [
        _series(AS_TRAINED, "third", [(e.epoch, e.train_accuracy.fraction) for e in epochs], "6 4"),
        Series(
            CLEAN,
            tuple(
                Point(e.epoch, e.validation_accuracy.fraction, e.validation_accuracy.interval)
                for e in epochs
            ),
            "after",
        ),
    ]
    loss = [
        _series(OBJECTIVE, "third", [(e.epoch, e.train_loss) for e in epochs], "6 4"),
        _series(CROSS_ENTROPY, "after", [(e.epoch, e.validation_loss) for e in epochs]),
    ]
    last = epochs[-1]
    name = TRAINED[model]
    least = min([p.y for line in accuracy for p in line.points])
    charts = [
        line_chart(
            f"Accuracy, {name}",
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
                f"Loss, {name}",
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
    """The numbers of the training curves."""
    rows = tuple(
        (
            Cell(f"{TRAINED.get(row.model, row.model)}, {row.epoch}"),
            Cell(whole(row.step)),
            counted(row.train_accuracy),
            Cell(f"{row.train_loss:.4f}"),
            counted(row.validation_accuracy),
            Cell(f"{row.validation_loss:.4f}"),
            Cell(f"{row.learning_rate:.3g}"),
        )
        for row in selection.of_kind(records, Epoch)
    )
    heads = named(
        "Epoch",
        "Step",
        "Training accuracy, as trained on",
        "Training loss, of the objective",
        "Validation accuracy, clean",
        "Validation loss, clean cross-entropy",
        "Learning rate",
    )
    return Table("epochs", "Training by epoch", heads, rows) if rows else None


def rounds_chart(records: Sequence[AnyRecord]) -> Chart | None:
    """Clean and worst-case validation accuracy by round, the selected round ringed."""
    rounds = list({row.round: row for row in selection.of_kind(records, Round)}.values())
    if not rounds:
        return None
    stops = selection.of_kind(records, Stop)
    best = stops[-1].best_round if stops else None
    lines = [
        Series(
            "clean",
            tuple(Point(r.round, r.clean.fraction, r.clean.interval) for r in rounds),
            "third",
            "6 4",
        ),
        Series(
            "worst case",
            tuple(
                Point(r.round, r.worst.fraction, r.worst.interval, r.round == best) for r in rounds
            ),
            "after",
        ),
    ]
    selected = [r for r in rounds if r.round == best]
    description = f"Worst-case accuracy over {whole(len(rounds))} rounds: from "
    description += f"{percent(rounds[0].worst.fraction)} to {percent(rounds[-1].worst.fraction)}"
    if selected:
        description += f"; round {best} with {percent(selected[0].worst.fraction)} was selected"
    least = min(min(r.worst.interval[0], r.clean.interval[0]) for r in rounds)
    return line_chart(
        "Validation accuracy by round",
        description + ".",
        lines,
        axis(rounds[0].round, rounds[-1].round, "round", least=1.0),
        axis(min(0.8, least), 1.0, "accuracy", in_percent),
    )
