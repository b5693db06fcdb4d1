"""The leaderboard of the zoo: all entries side by side, from their cards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from tempering.core.files import write_text
from tempering.core.threat_words import exact
from tempering.core.zoo_records import Card
from tempering.report.bar_chart import Bar, BarGroup, bar_chart
from tempering.report.line_chart import Point, Series, axis, in_percent, line_chart
from tempering.report.run_page import html
from tempering.report.section import Report, Section, drawn, tabled
from tempering.report.tables import ABSENT, Cell, Column, Table, worded
from tempering.report.wording import attack, counted, duration, settings, whole
from tempering.report.wording import threat as in_words

_MARKS = ("after", "before", "third", "fourth")
"""Colours of the entries of a chart."""


def write_leaderboard(cards: Sequence[Card], path: Path) -> Path:
    """Write the page; it opens offline.

    Raises:
        RunError: If it cannot be written.
    """
    write_text(path, html(leaderboard(cards)))
    return path


def leaderboard(cards: Sequence[Card]) -> Report:
    """The page as sections: one for each data set and threat, best robust accuracy first."""
    ranked = sorted(cards, key=lambda card: (*_group(card), -card.robust.fraction))
    groups = [list(part) for _, part in groupby(ranked, key=_group)]
    return Report(
        title="The zoo",
        subtitle="Trained models, with their evidence",
        sections=(_all(ranked), *(_one(group) for group in groups), _words(ranked)),
        source="card.json",
    )


def _group(card: Card) -> tuple[str, str]:
    return card.data, exact(card.threat)


def _all(cards: Sequence[Card]) -> Section:
    columns = (
        Column("entry", numeric=False),
        Column("threat", numeric=False),
        Column("robust", detail="under every attack"),
        Column("certified"),
        Column("clean"),
        Column("parameters"),
        Column("training"),
        Column("passes", detail="forward, in training"),
        Column("n"),
    )
    rows = tuple(_row(card) for card in cards)
    return Section(
        "entries",
        "Entries",
        (
            "Every entry was evaluated on the whole official test set, with the weights that "
            "are loaded. Robust accuracy is at least the certified share and at most the share "
            "that no attack broke. Within data and threat the entries stand by robust accuracy; "
            "where intervals overlap the order may be due to chance.",
        ),
        tabled(
            [
                Table(
                    "entries-table",
                    "Accuracy without attack, under every attack, and certified",
                    columns,
                    rows,
                    note="Intervals are 95 % Wilson intervals. Training is wall time on the "
                    "processor that the card names.",
                )
            ]
        ),
    )


def _row(card: Card) -> tuple[Cell, ...]:
    passes, training = card.training.passes, card.training
    return (
        Cell(card.name, card.model),
        Cell(card.threat, card.data),
        counted(card.robust),
        counted(card.certified),
        counted(card.clean),
        Cell(whole(card.parameters)),
        Cell(duration(training.seconds), f"{training.processor}, threads: {training.threads}"),
        ABSENT if passes is None else Cell(whole(passes.forward)),
        Cell(whole(card.n)),
    )


def _one(cards: Sequence[Card]) -> Section:
    first = cards[0]
    bars = bar_chart(
        "Accuracy",
        "Clean, robust and certified accuracy of each entry, with 95 % intervals.",
        [
            BarGroup(
                card.name,
                (
                    Bar("clean", card.clean.fraction, card.clean.interval, "before"),
                    Bar("robust", card.robust.fraction, card.robust.interval, "after"),
                    Bar("certified", card.certified.fraction, card.certified.interval, "third"),
                ),
            )
            for card in cards
        ],
    )
    curves = [
        Series(
            card.name,
            tuple(Point(at.eps, at.robust.fraction, at.robust.interval) for at in card.curve),
            mark=_MARKS[number % len(_MARKS)],
            dash="" if number < len(_MARKS) else "5 3",
        )
        for number, card in enumerate(cards)
        if card.curve
    ]
    chart = None
    if curves:
        widest = max(point.x for line in curves for point in line.points)
        chart = line_chart(
            "Accuracy against eps",
            "Robust accuracy of each entry at each eps.",
            curves,
            axis(0.0, widest, "eps"),
            axis(0.0, 1.0, "accuracy", in_percent),
        )
    number = f"{first.data}-{exact(first.threat)}".replace(":", "-").replace("/", "-")
    return Section(
        f"group-{number}",
        f"{first.data}, {first.threat}",
        (f"Within this threat {in_words(first.threat)}.",),
        drawn(f"figure-{number}", f"Entries for {first.data}, {first.threat}", [bars, chart]),
    )


def _words(cards: Sequence[Card]) -> Section:
    return Section(
        "evidence",
        "How each was trained and evaluated",
        (),
        tabled([_told(card) for card in cards]),
    )


def _told(card: Card) -> Table:
    training, evaluation = card.training, card.evaluation
    rows = {
        "objective": _objective(card),
        "trained by": f"{training.command} (seed {training.seed})",
        "evaluated by": f"{evaluation.command} (seed {evaluation.seed})",
        "protocol": f"{attack(evaluation.protocol)}, access {evaluation.access}, "
        f"Tempering {evaluation.tempering}, {evaluation.created}",
        "limits": " ".join(card.limits),
    }
    cells = tuple((Cell(name), Cell(text)) for name, text in rows.items())
    return Table(f"evidence-{card.name}", card.name, worded("", "from its card"), cells)


def _objective(card: Card) -> str:
    told = settings(card.training.objective)
    return f"{card.training.objective.get('name', 'unknown')}: {told}"
