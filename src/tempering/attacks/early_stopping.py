"""Turning off early stopping in an attack and all attacks inside of it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from tempering.attacks.base import Attack


def without_early_stopping(attack: Attack) -> Attack:
    """The same attack with all its steps, also for samples that are fooled already.

    An image that barely fools a surrogate seldom transfers to another model.

    Example:
        >>> from tempering.attacks import PGD
        >>> without_early_stopping(PGD(steps=5)).until_fooled
        False
    """
    changed: dict[str, Any] = {}
    for field in fields(attack):
        value = getattr(attack, field.name)
        if field.name == "until_fooled":
            changed[field.name] = False
        elif isinstance(value, Attack):
            changed[field.name] = without_early_stopping(value)
        elif isinstance(value, tuple) and any(isinstance(item, Attack) for item in value):
            changed[field.name] = tuple(map(without_early_stopping, value))
    return replace(attack, **changed) if changed else attack
