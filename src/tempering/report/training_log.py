"""How training went: why it ended, its curves and its rounds."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import AnyRecord, Epoch, Round, Stop
from tempering.report import choosing, curves
from tempering.report.section import Section, drawn, tabled
from tempering.report.tables import ABSENT, Cell, Column, Table, Tone
from tempering.report.wording import attack, counted, duration, whole

MODELS = ("hardened", "undefended", "single-pass", "surrogate")
"""In the order of their figures."""

OUTCOMES: dict[str, Tone] = {"best": "good", "kept": "", "rolled back": "bad"}


def training_log(records: Sequence[AnyRecord]) -> Section | None:
    """Curves and rounds, on validation data."""
    models = {one.model for one in choosing.of_kind(records, Epoch)}
    names = [name for name in MODELS if name in models]
    drawings = [
        block
        for name in names
        for block in drawn(
            f"training-{name}",
            f"Training of the {curves.TRAINED[name]}: accuracy with its 95 % band, and loss.",
            curves.training(records, name),
        )
    ]
    round_chart = drawn(
        "rounds-chart",
        "Rounds of retraining, judged on validation data; the ring marks the one that was kept.",
        [curves.rounds(records)],
    )
    if not drawings and not round_chart:
        return None
    return Section(
        "training",
        "Training",
        (_ended(records), "Every choice was made on validation data; test data chose nothing."),
        (
            *round_chart,
            *tabled([rounds_table(records)]),
            *drawings,
            *tabled([curves.epochs_table(records)], folded=True),
        ),
    )


def _ended(records: Sequence[AnyRecord]) -> str:
    stops = choosing.of_kind(records, Stop)
    if not stops:
        return ""
    stop = stops[-1]
    kept = f" The weights are those of round {stop.best_round}." if stop.best_round >= 0 else ""
    return (
        f"Training ended by the rule {stop.rule} after {whole(stop.rounds)} rounds and "
        f"{whole(stop.steps)} steps: {stop.reason}.{kept}"
    )


def rounds_table(records: Sequence[AnyRecord]) -> Table | None:
    """Rounds with what came of them and why."""
    rounds = choosing.of_kind(records, Round)
    names = list(dict.fromkeys(name for one in rounds for name in one.by_attack))
    rows = tuple(
        (
            Cell(str(one.round)),
            Cell(whole(one.step)),
            counted(one.clean),
            counted(one.worst),
            Cell(f"{one.rho:.3f}"),
            Cell(one.outcome, tone=OUTCOMES[one.outcome]),
            Cell(one.reason),
            *(counted(one.by_attack[n]) if n in one.by_attack else ABSENT for n in names),
            Cell(duration(one.seconds)),
        )
        for one in rounds
    )
    heads = (
        Column("Round", numeric=False),
        Column("Step"),
        Column("Clean"),
        Column("Worst case"),
        Column("rho"),
        Column("Outcome", numeric=False),
        Column("Reason", numeric=False),
        *(Column(attack(name)) for name in names),
        Column("Time"),
    )
    return Table("rounds", "Rounds on validation data", heads, rows) if rows else None
