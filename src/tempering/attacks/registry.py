"""The attacks by name, and their text form."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from tempering.attacks.apgd import APGDCE, APGDDLR
from tempering.attacks.apgd_t import APGDT
from tempering.attacks.base import Attack
from tempering.attacks.bim import BIM
from tempering.attacks.boundary import Boundary
from tempering.attacks.box import Box
from tempering.attacks.cw_l2 import CWL2
from tempering.attacks.cw_linf import CWLinf
from tempering.attacks.cw_linf_nearest import CWLinfNearest
from tempering.attacks.ddn import DDN
from tempering.attacks.deepfool import DeepFool
from tempering.attacks.fab import FAB
from tempering.attacks.fab_t import FABT
from tempering.attacks.fgsm import FGSM
from tempering.attacks.fmn import FMN
from tempering.attacks.generator import Generator
from tempering.attacks.hopskipjump import HopSkipJump
from tempering.attacks.local_search import LocalSearch
from tempering.attacks.mifgsm import MIFGSM
from tempering.attacks.patch import PatchAttack
from tempering.attacks.pgd import PGD
from tempering.attacks.restarts import Restarts
from tempering.attacks.rfgsm import RFGSM
from tempering.attacks.sigma_zero import SigmaZero
from tempering.attacks.square import Square
from tempering.attacks.start_images import StartImages
from tempering.attacks.transfer import Transfer, read_transfer
from tempering.attacks.universal_patch import UniversalPatch
from tempering.core.errors import UnknownNameError, UsageError
from tempering.core.python_values import python_text
from tempering.core.registry import Registry
from tempering.core.specs import FROM_PYTHON, read_value, split_pairs

ATTACKS: Registry[type[Attack]] = Registry("attack")
"""Canonical name -> attack class."""

_FIXED: tuple[type[Attack], ...] = (FGSM, RFGSM, BIM, PGD, MIFGSM, CWLinf, APGDCE, APGDDLR, APGDT)
_NEAREST: tuple[type[Attack], ...] = (CWL2, CWLinfNearest, DeepFool, DDN, FMN, FAB, FABT, SigmaZero)

for _kind in (*_FIXED, *_NEAREST):
    ATTACKS.register(_kind.name)(_kind)
ATTACKS.register(Box.name)(Box)

for _other in (Square, HopSkipJump, Boundary, Transfer, PatchAttack, UniversalPatch, Generator):
    ATTACKS.register(_other.name)(_other)


_EVERYWHERE = ("restarts", "local_search")
"""Parameters that all attacks accept."""


def parse_attack(text: str) -> Attack:
    """Read an attack: NAME or NAME:key=value,key=value.

    Args:
        text: Such as `pgd:steps=40,restarts=2`; `restarts` and `local_search` (queries of a
            random search from the result) work with every attack.

    Returns:
        The attack.

    Raises:
        UnknownNameError: If there is no such attack; suggests similar names.
        UsageError: If a parameter is unknown or has an invalid value.

    Example:
        >>> parse_attack("pgd:steps=20").steps
        20
    """
    if text.startswith(FROM_PYTHON):
        raise UsageError(
            f"attack {text} came from Python and cannot be read again: give the value from Python"
        )
    name, _, tail = text.partition(":")
    kind = ATTACKS[name.strip().lower()]
    if kind is Transfer:
        return read_transfer(tail, parse_attack)
    types = typing.get_type_hints(kind)
    fields = {field.name: types[field.name] for field in dataclasses.fields(kind)}
    settings: dict[str, Any] = {}
    for key, value in split_pairs(tail, f"attack {text!r}", "steps=40").items():
        if key not in _EVERYWHERE and key not in fields:
            raise UnknownNameError(f"parameter of {kind.name}", key, [*fields, *_EVERYWHERE])
        if StartImages in typing.get_args(fields.get(key)) and value != "none":
            settings[key] = StartImages(value)
        else:
            settings[key] = read_value(value, fields.get(key, int), f"{kind.name}: {key}")
    restarts = settings.pop("restarts", 1)
    queries = settings.pop("local_search", 0)
    attack = kind(**settings)
    if queries:
        attack = LocalSearch(attack, queries)
    return attack if restarts == 1 else Restarts(attack, restarts)


def write_attack(attack: Attack) -> str:
    """The text that `parse_attack` reads as this attack; of others, one that it refuses.

    Example:
        >>> write_attack(Restarts(PGD(steps=20), 2))
        'pgd:steps=20,restarts=2'
    """
    inner = attack
    added: dict[str, str] = {}
    if type(inner) is Restarts:
        added["restarts"] = str(inner.times)
        inner = inner.attack
    if type(inner) is LocalSearch and inner == LocalSearch(inner.attack, inner.queries):
        added["local_search"] = str(inner.queries)
        inner = inner.attack
    if type(inner) is Transfer:
        settings = _transfer_settings(inner) if "local_search" not in added else None
    else:
        settings = _settings(inner) if type(inner) is dict(ATTACKS).get(inner.name) else None
    if settings is None:
        return python_text(attack)
    pairs = ",".join(f"{key}={value}" for key, value in (settings | added).items())
    return inner.name + (f":{pairs}" if pairs else "")


def _settings(attack: Attack) -> dict[str, str] | None:
    """The fields that differ from their defaults, as text; None if one has no text."""
    settings: dict[str, str] = {}
    for field in dataclasses.fields(attack):
        value = getattr(attack, field.name)
        if isinstance(value, StartImages):
            value = value.address if value.data is None else value
        if not isinstance(value, bool | int | float | str | None):
            return None
        if value != field.default:
            settings[field.name] = _word(value)
    return settings


def _word(value: float | str | None) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _transfer_settings(attack: Transfer) -> dict[str, str] | None:
    """What `read_transfer` reads; None if a surrogate or the attack has no text."""
    kind, inner = type(attack.attack), _settings(attack.attack)
    if inner is None or kind is not dict(ATTACKS).get(attack.attack.name):
        return None
    if any(surrogate.module is not None for surrogate in attack.surrogates):
        return None
    surrogates = "+".join(surrogate.address for surrogate in attack.surrogates)
    own = {"surrogate": surrogates, "attack": attack.attack.name}
    own |= {"diversity": str(attack.diversity), "momentum": str(attack.momentum)}
    return own | inner
