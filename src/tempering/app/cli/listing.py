"""`temper list`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from tempering.app.cli import options
from tempering.app.cli.console import near, say, say_json
from tempering.app.cli.invocation import runs_folder
from tempering.core.threat_words import with_value


class Listing(StrEnum):
    """What can be listed."""

    attacks = "attacks"
    defenses = "defenses"
    models = "models"
    objectives = "objectives"
    poisons = "poisons"
    data = "data"
    recipes = "recipes"
    runs = "runs"
    systems = "systems"
    zoo = "zoo"


def list_(
    kind: Annotated[Listing, typer.Argument(help="What to list.")],
    as_json: options.Json = False,
) -> None:
    """List attacks, poisons, defenses, models, objectives, data, recipes, runs, systems or zoo."""
    rows = {
        Listing.attacks: _attacks,
        Listing.defenses: _defenses,
        Listing.models: _models,
        Listing.objectives: _objectives,
        Listing.poisons: _poisons,
        Listing.data: _data,
        Listing.recipes: _recipes,
        Listing.runs: _runs,
        Listing.systems: _systems,
        Listing.zoo: _zoo,
    }[kind]()
    if as_json:
        say_json(rows)
        return
    if not rows and kind is Listing.runs:
        say(f"no runs in {near(runs_folder())}: temper harden and temper evaluate make some")
        return
    wide = max((len(row["name"]) for row in rows), default=0)
    said = {Listing.runs: _SAID, Listing.zoo: _ON_THE_CARD}.get(kind, ())
    for row in rows:
        for line in _lines(row, wide, said):
            say(line)


WIDTH = 100
"""Columns of a terminal that a list needs at most."""


_SAID = (
    "status", "kind", "model", "data", "threat", "n", "clean_accuracy", "robust_accuracy"
)  # fmt: skip
"""Columns of a run that its summary says already."""


_ON_THE_CARD = ("data", "threat", "n", "clean_accuracy", "robust_accuracy", "minutes")
"""Columns of an entry of the zoo that its summary says already."""


def _lines(row: dict[str, Any], wide: int, said: Sequence[str]) -> list[str]:
    """A name, its summary beside it, and below the rest."""
    left = {key: value for key, value in row.items() if key not in ("name", "summary", *said)}
    facts = [
        f"{key.replace('_', ' ')} {_text(value)}"
        for key, value in left.items()
        if value not in ("", None, [], {})
    ]
    indent = " " * min(wide + 2, WIDTH // 3)
    texts = [row["summary"], "; ".join(facts)]
    lines = [line for text in texts for line in _wrapped(text, WIDTH - len(indent))]
    if len(row["name"]) + 2 > len(indent):
        return [row["name"], *(indent + line for line in lines)]
    first, *more = lines or [""]
    return [f"{row['name']:<{len(indent)}}{first}".rstrip(), *(indent + line for line in more)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_text(entry)}" for key, entry in value.items())
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


def _attacks() -> list[dict[str, Any]]:
    from tempering.attacks.registry import ATTACKS

    return [
        {
            "name": name,
            "norms": list(kind.norms),
            "access": kind.access,
            "source": kind.source,
            "cost": kind.cost,
            "summary": _summary(kind.__doc__),
        }
        for name, kind in ATTACKS.items()
    ]


def _summary(docstring: str | None) -> str:
    """The summary of a docstring; empty without one."""
    return (docstring or "").strip().partition("\n")[0]


def _systems() -> list[dict[str, Any]]:
    from tempering.systems.registry import SYSTEMS

    return [
        {
            "name": name,
            "claimed": system.claimed,
            "claim": system.claim,
            "source": system.source,
            "summary": system.how,
        }
        for name, system in SYSTEMS.items()
    ]


def _defenses() -> list[dict[str, Any]]:
    from tempering.core.protocols import DEFENSES
    from tempering.defenses.text import options_of

    return [
        {
            "name": name,
            "kind": defense.kind,
            "options": options_of(defense),
            "input_gradient": defense.input_gradient,
            "random": defense.random,
            "source": defense.source,
            "summary": _summary(defense.__doc__),
        }
        for name, defense in DEFENSES.items()
    ]


def _models() -> list[dict[str, Any]]:
    from tempering.models.hub.address import FORMS
    from tempering.models.registry import MODELS

    own = [{"name": name, "summary": entry.summary} for name, entry in MODELS.items()]
    return own + [{"name": form, "summary": summary} for form, summary in FORMS.items()]


def _objectives() -> list[dict[str, Any]]:
    from tempering.training.objectives.registry import (
        OBJECTIVES,
        parameters_of,
        passes_of,
    )

    return [
        {
            "name": name,
            "parameters": parameters_of(kind),
            "inner_maximization": kind.inner_maximization,
            "passes": passes_of(kind),
            "source": kind.source,
            "summary": _summary(kind.__doc__),
        }
        for name, kind in OBJECTIVES.items()
    ]


def _poisons() -> list[dict[str, Any]]:
    from tempering.poisoning.poisons.registry import POISONS, parameters_of

    return [
        {
            "name": name,
            "parameters": parameters_of(kind),
            "changes": kind.changes,
            "trigger": kind.triggered,
            "needs_network": kind.needs_network,
            "source": kind.source,
            "summary": _summary(kind.__doc__),
        }
        for name, kind in POISONS.items()
    ]


def _data() -> list[dict[str, Any]]:
    from tempering.data.sources.registered import SOURCES

    return [
        {"name": name, "example": entry.example, "summary": entry.summary}
        for name, entry in SOURCES.items()
    ]


def _recipes() -> list[dict[str, Any]]:
    from tempering.app.recipe import recipes

    return [
        {"name": name, "summary": path.read_text().splitlines()[0].lstrip("# ")}
        for name, path in recipes().items()
    ]


def _runs() -> list[dict[str, Any]]:
    from tempering.app.run_list import list_runs

    return [
        {"name": str(near(entry.path)), "summary": entry.summary, **entry.facts()}
        for entry in list_runs(runs_folder())
    ]


def _zoo() -> list[dict[str, Any]]:
    from tempering.models.zoo.entries import cards

    return [
        {
            **card.row(),
            "summary": f"{card.data}, {with_value(card.threat)}: clean "
            f"{100 * card.clean_accuracy:.1f} %, robust "
            f"{100 * card.robust_accuracy.lower:.1f} to {100 * card.robust_accuracy.upper:.1f} % "
            f"of {card.n} images, trained in {card.minutes:.1f} minutes",
        }
        for card in cards()
    ]
