"""Attacks in settings: values in memory, text in files."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator

from tempering.attacks import registry
from tempering.attacks.base import Attack


def _read(given: object) -> Attack:
    if isinstance(given, Attack):
        return given
    if isinstance(given, str):
        return registry.parse_attack(given)
    raise ValueError("give an attack, such as 'pgd:steps=5'")


AttackField = Annotated[Attack, PlainValidator(_read), PlainSerializer(registry.write_attack)]
"""A field of settings: read from text once, when it is validated, and a value from there on."""
