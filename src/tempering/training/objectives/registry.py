"""The objectives by name, how people write one, and a user's own from a file."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from tempering.core.errors import UnknownNameError, UsageError, first_line
from tempering.core.registry import Registry
from tempering.models.foreign import load_attribute
from tempering.training.objective import Objective
from tempering.training.objectives.gaussian_noise import GaussianNoise
from tempering.training.objectives.interval import Interval
from tempering.training.objectives.mart import Mart
from tempering.training.objectives.paper import Paper
from tempering.training.objectives.single_pass import SinglePass
from tempering.training.objectives.standard import Standard
from tempering.training.objectives.trades import Trades

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
"""Canonical name -> objective class."""

for _kind in (Standard, Paper, SinglePass, Trades, Mart, Interval, GaussianNoise):
    OBJECTIVES.register(_kind.name)(_kind)


def parse_objective(text: str, defaults: Mapping[str, Any] | None = None) -> Objective:
    """Read an objective as people write it: NAME, NAME:key=value,key=value, or FILE.py:NAME.

    Args:
        text: Such as `trades:beta=6`; or `file.py:name` for an `Objective` of one's own, or a
            class or function that returns one when it is called without arguments.
        defaults: Values of parameters that the text does not give; those that the objective
            does not have are passed over.

    Returns:
        The objective.

    Raises:
        UnknownNameError: If there is no such objective or parameter; offers the nearest.
        UsageError: If a parameter has no sensible value.
        ModelError: If the file cannot be run, or has no such name.

    Example:
        >>> parse_objective("trades:beta=3").beta
        3.0
    """
    name, _, tail = text.partition(":")
    if name.endswith(".py"):
        return _own(text)
    kind = OBJECTIVES[name.strip().lower()]
    types = typing.get_type_hints(kind)
    names = [entry.name for entry in dataclasses.fields(kind)]
    settings = {key: value for key, value in (defaults or {}).items() if key in names}
    given: dict[str, Any] = {}
    for pair in filter(None, tail.split(",")):
        key, found, value = (part.strip() for part in pair.partition("="))
        if not found:
            raise UsageError(f"{pair!r} in objective {text!r} is not key=value: write beta=6")
        if key not in names:
            raise UnknownNameError(f"parameter of {kind.name}", key, names)
        if key in given:
            raise UsageError(f"{key} is given twice in objective {text!r}: give it once")
        given[key] = _value(value, types[key], f"{kind.name}: {key}")
    return kind(**(settings | given))


def parameters_of(kind: type[Objective]) -> dict[str, Any]:
    """Parameters of an objective and their defaults, as text, numbers and lists."""
    return {
        entry.name: [attack.label() for attack in entry.default]
        if isinstance(entry.default, tuple)
        else entry.default
        for entry in dataclasses.fields(kind)
    }


def _value(text: str, wanted: Any, where: str) -> Any:
    options = typing.get_args(wanted) or (wanted,)
    if type(None) in options and text == "none":
        return None
    if bool in options:
        if text in ("true", "false"):
            return text == "true"
        raise UsageError(f"{where} = {text!r}: give true or false")
    for kind, words in ((int, "a whole number"), (float, "a number")):
        if kind in options:
            try:
                return kind(text)
            except ValueError:
                raise UsageError(f"{where} = {text!r}: give {words}") from None
    raise UsageError(
        f"{where} = {text!r}: set it from Python, or as {where.rpartition(' ')[2]} in the "
        "recipe's mixture"
    )


def _own(text: str) -> Objective:
    value = load_attribute(text, "objective")
    if isinstance(value, Objective):
        return value
    if not callable(value):
        raise UsageError(f"objective {text} is a {type(value).__name__}: give a training.Objective")
    try:
        made = value()
    except Exception as error:
        raise UsageError(f"objective {text} failed: {first_line(error)}") from error
    if not isinstance(made, Objective):
        raise UsageError(
            f"objective {text} returned {type(made).__name__}: return a training.Objective"
        )
    return made
