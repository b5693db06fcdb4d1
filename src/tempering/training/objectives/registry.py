"""The objectives by name, how people write one, and a user's own from a file."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from tempering.core.errors import UnknownNameError, UsageError, type_and_message
from tempering.core.registry import Registry
from tempering.core.specs import read_value, split_pairs
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
    for key, value in split_pairs(tail, f"objective {text!r}", "beta=6").items():
        if key not in names:
            raise UnknownNameError(f"parameter of {kind.name}", key, names)
        if typing.get_origin(types[key]) is tuple:
            raise UsageError(
                f"{kind.name}: {key} = {value!r}: set it from Python, or as {key} in the "
                "recipe's mixture"
            )
        settings[key] = read_value(value, types[key], f"{kind.name}: {key}")
    return kind(**settings)


def parameters_of(kind: type[Objective]) -> dict[str, Any]:
    """Parameters of an objective and their defaults, as text, numbers and lists."""
    return {
        entry.name: [attack.label() for attack in entry.default]
        if isinstance(entry.default, tuple)
        else entry.default
        for entry in dataclasses.fields(kind)
    }


def _own(text: str) -> Objective:
    value = load_attribute(text, "objective")
    if isinstance(value, Objective):
        return value
    if not callable(value):
        raise UsageError(f"objective {text} is a {type(value).__name__}: give a training.Objective")
    try:
        made = value()
    except Exception as error:
        raise UsageError(f"objective {text} failed: {type_and_message(error)}") from error
    if not isinstance(made, Objective):
        raise UsageError(
            f"objective {text} returned {type(made).__name__}: return a training.Objective"
        )
    return made
