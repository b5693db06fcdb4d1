"""`temper list`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from tempering.app.cli import options
from tempering.app.cli.console import say, say_json


class Listing(StrEnum):
    """What can be listed."""

    attacks = "attacks"
    defenses = "defenses"
    models = "models"
    objectives = "objectives"
    data = "data"
    recipes = "recipes"


def list_(
    kind: Annotated[Listing, typer.Argument(help="What to list.")],
    as_json: options.Json = False,
) -> None:
    """List attacks, defenses, models, training objectives, data sources or recipes."""
    rows = {
        Listing.attacks: _attacks,
        Listing.defenses: _defenses,
        Listing.models: _models,
        Listing.objectives: _objectives,
        Listing.data: _data,
        Listing.recipes: _recipes,
    }[kind]()
    if as_json:
        say_json(rows)
        return
    texts = [[_text(value) for value in row.values()] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(*texts, strict=True)]
    for row in texts:
        say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


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


def _defenses() -> list[dict[str, Any]]:
    from tempering.core.protocols import DEFENSES

    return [
        {
            "name": name,
            "kind": defense.kind,
            "input_gradient": defense.input_gradient,
            "random": defense.random,
            "source": defense.source,
            "summary": _summary(defense.__doc__),
        }
        for name, defense in DEFENSES.items()
    ]


def _models() -> list[dict[str, Any]]:
    from tempering.models.registry import MODELS

    return [{"name": name, "summary": entry.summary} for name, entry in MODELS.items()]


def _objectives() -> list[dict[str, Any]]:
    from tempering.training.objectives.registry import OBJECTIVES, parameters_of

    return [
        {
            "name": name,
            "parameters": parameters_of(kind),
            "inner_maximization": kind.inner_maximization,
            "source": kind.source,
            "summary": _summary(kind.__doc__),
        }
        for name, kind in OBJECTIVES.items()
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
