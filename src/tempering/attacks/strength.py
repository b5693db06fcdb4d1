"""What of an attack changes when it is used inside of another."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from tempering.attacks.base import Attack


def at_full_strength(attack: Attack) -> Attack:
    """An attack that climbs to the end, also where it has long fooled its own model.

    A sample that only just fools the model it was made on seldom fools another.

    Example:
        >>> from tempering.attacks import PGD
        >>> at_full_strength(PGD(steps=5)).until_fooled
        False
    """
    changed: dict[str, Any] = {}
    for field in fields(attack):
        value = getattr(attack, field.name)
        if field.name == "until_fooled":
            changed[field.name] = False
        elif isinstance(value, Attack):
            changed[field.name] = at_full_strength(value)
        elif isinstance(value, tuple) and any(isinstance(one, Attack) for one in value):
            changed[field.name] = tuple(map(at_full_strength, value))
    return replace(attack, **changed) if changed else attack
