"""The poisons by name, their text form, and a user's own from a file."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from tempering.core.errors import TemperingError, UnknownNameError, UsageError, type_and_message
from tempering.core.registry import Registry
from tempering.core.specs import read_value, split_pairs
from tempering.models.foreign import load_attribute
from tempering.poisoning.poisons.adaptive_blend import AdaptiveBlend
from tempering.poisoning.poisons.badnets import BadNets
from tempering.poisoning.poisons.base import Poison
from tempering.poisoning.poisons.blended import Blended
from tempering.poisoning.poisons.feature_collision import FeatureCollision
from tempering.poisoning.poisons.gradient_matching import GradientMatching
from tempering.poisoning.poisons.hard_label_flip import HardLabelFlip
from tempering.poisoning.poisons.label_flip import LabelFlip
from tempering.poisoning.poisons.perturbation import Perturbation
from tempering.poisoning.poisons.sinusoidal import Sinusoidal
from tempering.poisoning.poisons.targeted_label_flip import TargetedLabelFlip
from tempering.poisoning.poisons.warping import Warping

POISONS: Registry[type[Poison]] = Registry("poison")
"""Canonical name -> poison class."""

_LABELS: tuple[type[Poison], ...] = (LabelFlip, TargetedLabelFlip, HardLabelFlip)
_BACKDOORS: tuple[type[Poison], ...] = (BadNets, Blended, Sinusoidal, Warping, AdaptiveBlend)
_CLEAN: tuple[type[Poison], ...] = (Perturbation, FeatureCollision, GradientMatching)

for _kind in (*_LABELS, *_BACKDOORS, *_CLEAN):
    POISONS.register(_kind.name)(_kind)


def parse_poison(text: str) -> Poison:
    """Read a poison: NAME or FILE.py:NAME, then :key=value,key=value.

    Args:
        text: Such as `badnets:target=7,side=4`, or `my.py:MyPoison` for a `Poison` of one's own,
            a class or a value. Several values of one parameter are joined by +, as in
            `perturbation:grid=0.1+0.2`.

    Raises:
        UnknownNameError: If there is no such poison or parameter; offers the nearest.
        UsageError: If a parameter has no sensible value, or the own one is no poison.
        ModelError: If the file cannot be run, or has no such name.

    Example:
        >>> parse_poison("badnets:target=7")
        BadNets(target=7, side=3)
    """
    name, _, tail = text.partition(":")
    if name.endswith(".py"):
        attribute, _, pairs = tail.partition(":")
        return _own(f"{name}:{attribute}", _pairs(pairs, text))
    kind = POISONS[name.strip().lower()]
    return kind(**_read(kind, _pairs(tail, text), kind.name))


def parameters_of(kind: type[Poison]) -> dict[str, Any]:
    """Parameters of a poison and their defaults, as text, numbers and lists."""
    return {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
    }


def write_poison(poison: Poison) -> str:
    """The text of a poison: its name, and the parameters that differ from their defaults.

    Example:
        >>> write_poison(BadNets(target=7))
        'badnets:target=7'
    """
    pairs = [
        f"{field.name}={_word(value)}"
        for field in dataclasses.fields(poison)
        if (value := getattr(poison, field.name)) != field.default
    ]
    return poison.name + (f":{','.join(pairs)}" if pairs else "")


def _word(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _pairs(tail: str, text: str) -> dict[str, str]:
    return split_pairs(tail, f"poison {text!r}", "target=0")


def _read(kind: type[Poison], pairs: Mapping[str, str], name: str) -> dict[str, Any]:
    types = typing.get_type_hints(kind)
    fields = {field.name: types[field.name] for field in dataclasses.fields(kind) if field.init}
    settings: dict[str, Any] = {}
    for key, value in pairs.items():
        if key not in fields:
            raise UnknownNameError(f"parameter of {name}", key, fields)
        where = f"{name}: {key}"
        if typing.get_origin(fields[key]) is tuple:
            kinds = typing.get_args(fields[key])[0]
            settings[key] = tuple(read_value(part, kinds, where) for part in value.split("+"))
        else:
            settings[key] = read_value(value, fields[key], where)
    return settings


def _own(text: str, pairs: Mapping[str, str]) -> Poison:
    value = load_attribute(text, "poison")
    try:
        if isinstance(value, Poison):
            return dataclasses.replace(value, **_read(type(value), pairs, text))
        if isinstance(value, type) and issubclass(value, Poison):
            return value(**_read(value, pairs, text))
    except TemperingError:
        raise
    except Exception as error:
        raise UsageError(f"poison {text} failed: {type_and_message(error)}") from error
    raise UsageError(
        f"poison {text} is {value!r}: give a class derived from tempering.poisoning.Poison"
    )
