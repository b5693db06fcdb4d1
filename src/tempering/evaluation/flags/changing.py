"""The same attack with other numbers in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from tempering.attacks.base import Attack


def changed(attack: Attack, change: Callable[[Attack], dict[str, Any]]) -> Attack:
    """An attack with other hyperparameters, and the attacks within it likewise.

    Args:
        attack: Any.
        change: From an attack to the fields that change, with their values.
    """
    values = change(attack)
    for field in fields(attack):
        value = getattr(attack, field.name)
        if isinstance(value, Attack):
            values[field.name] = changed(value, change)
        elif isinstance(value, tuple) and any(isinstance(one, Attack) for one in value):
            values[field.name] = tuple(changed(one, change) for one in value)
    return replace(attack, **values) if values else attack
