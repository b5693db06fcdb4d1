"""A card of the zoo as lines of a terminal."""

from __future__ import annotations

import textwrap

from tempering.app.cli.console import COLUMNS
from tempering.core.threat_words import with_value
from tempering.core.zoo_records import Card
from tempering.report.wording import duration, percent, radius, settings, whole

_INDENT = 12


def lines(card: Card) -> list[str]:
    """What people read of a card."""
    training, evaluation = card.training, card.evaluation
    passes = training.passes
    cost = "" if passes is None else f", {whole(passes.forward)} forward passes"
    curve = ", ".join(f"{percent(at.robust.fraction)} at {radius(at.eps)}" for at in card.curve)
    rows = [
        ("data", f"{card.data}, all {whole(card.n)} images of the official test set"),
        ("threat", with_value(card.threat)),
        ("model", f"{card.model}, {whole(card.parameters)} parameters, weights {card.weights}"),
        ("clean", str(card.clean)),
        ("robust", f"at most {card.robust} (protocol {evaluation.protocol})"),
        ("certified", f"at least {card.certified}"),
        ("eps", curve or "not measured"),
        (
            "training",
            f"{duration(training.seconds)}{cost}; {training.processor}, "
            f"threads: {training.threads}; {training.objective.get('name', 'unknown')}: "
            f"{settings(training.objective)}; seed {training.seed}",
        ),
        ("command", training.command),
        ("evaluation", f"{evaluation.command}; Tempering {evaluation.tempering}"),
        *(("limits" if not at else "", limit) for at, limit in enumerate(card.limits)),
    ]
    return [f"{card.name}", *(line for name, text in rows for line in _row(name, text))]


def _row(name: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(text, COLUMNS - _INDENT, break_long_words=False, break_on_hyphens=False)
    first, *more = wrapped or [""]
    return [f"{name:<{_INDENT}}{first}", *(" " * _INDENT + line for line in more)]
