"""The objectives by name, how people write one, and a user's own from a file."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from tempering.attacks.base import Attack
from tempering.core.errors import TemperingError, UnknownNameError, UsageError, type_and_message
from tempering.core.registry import Registry
from tempering.core.specs import read_value, split_pairs
from tempering.core.threats import Threat, parse_threat
from tempering.models.foreign import load_attribute
from tempering.training.objective import Objective
from tempering.training.objectives.anti_backdoor import AntiBackdoor
from tempering.training.objectives.ard import ARD
from tempering.training.objectives.awp import AWP
from tempering.training.objectives.crown_ibp import CrownIBP
from tempering.training.objectives.curriculum import Curriculum
from tempering.training.objectives.cutmix import CutMix
from tempering.training.objectives.dp_sgd import DPSGD
from tempering.training.objectives.fast_ibp import FastIBP
from tempering.training.objectives.fgsm_rs import FGSMRS
from tempering.training.objectives.free import Free
from tempering.training.objectives.gaussian_noise import GaussianNoise
from tempering.training.objectives.generator import GeneratorPartner
from tempering.training.objectives.grad_align import GradAlign
from tempering.training.objectives.interval import Interval
from tempering.training.objectives.logit_pairing import LogitPairing
from tempering.training.objectives.mart import Mart
from tempering.training.objectives.mtl_ibp import MTLIBP
from tempering.training.objectives.multi_norm import MultiNorm
from tempering.training.objectives.n_fgsm import NFGSM
from tempering.training.objectives.paper import Paper
from tempering.training.objectives.pgd_training import PGDTraining
from tempering.training.objectives.rslad import RSLAD
from tempering.training.objectives.sabr import SABR
from tempering.training.objectives.single_pass import SinglePass
from tempering.training.objectives.smooth_adv import SmoothAdv
from tempering.training.objectives.standard import Standard
from tempering.training.objectives.trades import Trades
from tempering.training.objectives.trim import Trim
from tempering.training.teacher import Distillation
from tempering.training.wrapper import Wrapper

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
"""Canonical name -> objective class."""

_KINDS: tuple[type[Objective], ...] = (
    *(Standard, Paper, SinglePass, PGDTraining, Trades, Mart),
    *(FGSMRS, NFGSM, GradAlign, Free, LogitPairing, MultiNorm, GeneratorPartner, ARD, RSLAD),
    *(Interval, CrownIBP, SABR, MTLIBP, GaussianNoise, SmoothAdv),
    *(AWP, Curriculum, FastIBP, Trim, CutMix, AntiBackdoor, DPSGD),
)
for _kind in _KINDS:
    OBJECTIVES.register(_kind.name)(_kind)

_INNER = re.compile(r"\+(?=[^0-9]|$)")
"""What stands between a wrapper and what it wraps; the + of 1e+3 does not."""


def parse_objective(text: str, defaults: Mapping[str, Any] | None = None) -> Objective:
    """Read an objective as people write it: NAME or FILE.py:NAME, then :key=value,key=value.

    Args:
        text: Such as `trades:beta=6`; a wrapper and what it wraps, such as
            `trim:share=0.05+trades:beta=6`; or `file.py:name` or `file.py:name:beta=6` for an
            `Objective` of one's own, or a class or function that returns one. Parameters are those
            of the class or function; of an `Objective` they replace fields.
        defaults: Values of parameters that the text does not give; those that the objective
            does not have are passed over, and functions and values of one's own have theirs.

    Returns:
        The objective.

    Raises:
        UnknownNameError: If there is no such objective or parameter; offers the nearest.
        UsageError: If a parameter has no sensible value.
        ModelError: If the file cannot be run, or has no such name.

    Example:
        >>> parse_objective("trades:beta=3").beta
        3.0
        >>> parse_objective("trim+trades").inner.name
        'trades'
    """
    head, *rest = _INNER.split(text, maxsplit=1)
    outer = head.partition(":")[0].strip().lower()
    if outer in OBJECTIVES and issubclass(wrapper := OBJECTIVES[outer], Wrapper):
        return _wrapped(wrapper, head, rest[0] if rest else "", defaults)
    if rest:
        _require_first(text, head, rest[0])
    name, _, tail = text.partition(":")
    if name.endswith(".py"):
        attribute, _, pairs = tail.partition(":")
        return _own(
            f"{name}:{attribute}", split_pairs(pairs, f"objective {text!r}", "beta=6"), defaults
        )
    kind = OBJECTIVES[name.strip().lower()]
    given = _read(split_pairs(tail, f"objective {text!r}", "beta=6"), _fields(kind), kind.name)
    return kind(**{**_inherited(kind, defaults), **given})


def _require_first(text: str, head: str, rest: str) -> None:
    """Refuse an objective, which is no wrapper, before another; a + may belong to a value."""
    later = _INNER.split(rest)
    last = later[-1].partition(":")[0].strip().lower()
    if last not in OBJECTIVES:
        return
    if issubclass(OBJECTIVES[last], Wrapper):
        right = "+".join([*later, head])
        raise UsageError(f"objective {text!r}: a wrapper comes first: write {right}")
    wrappers = ", ".join(sorted(k for k, v in OBJECTIVES.items() if issubclass(v, Wrapper)))
    raise UsageError(
        f"objective {text!r}: {head} wraps no other: give one objective, after wrappers "
        f"({wrappers}) if you like"
    )


def _wrapped(
    kind: type[Wrapper], text: str, inner: str, defaults: Mapping[str, Any] | None
) -> Objective:
    """A wrapper, and the objective after the + that it wraps."""
    if not inner:
        raise UsageError(
            f"objective {text!r} wraps another: name it, such as {text}+paper or {text}+trades"
        )
    pairs = split_pairs(text.partition(":")[2], f"objective {text!r}", "share=0.05")
    given = _read(pairs, _fields(kind), kind.name)
    return kind(inner=parse_objective(inner, defaults), **given)


def _fields(kind: type[Objective]) -> dict[str, Any]:
    """Parameters of an objective that text can give, and their types."""
    types = typing.get_type_hints(kind)
    return {
        entry.name: types[entry.name]
        for entry in dataclasses.fields(kind)
        if entry.init and not _is_objective(entry.default)
    }


def _is_objective(value: object) -> bool:
    return isinstance(value, Objective)


def _read(pairs: Mapping[str, str], types: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Values of parameters, by their types."""
    settings = {}
    for key, value in pairs.items():
        if key not in types:
            raise UnknownNameError(f"parameter of {name}", key, types)
        if types[key] == tuple[Threat, ...]:
            settings[key] = tuple(parse_threat(part) for part in value.split("+") if part)
            continue
        if typing.get_origin(types[key]) is tuple:
            raise UsageError(
                f"{name}: {key} = {value!r}: set it from Python, or as {key} in the "
                "recipe's mixture"
            )
        settings[key] = read_value(value, types[key], f"{name}: {key}")
    return settings


def parameters_of(kind: type[Objective]) -> dict[str, Any]:
    """Parameters of an objective and their defaults, as text, numbers and lists."""
    return {
        entry.name: [_labelled(part) for part in entry.default]
        if isinstance(entry.default, tuple)
        else entry.default
        for entry in dataclasses.fields(kind)
        if not _is_objective(entry.default)
    }


def passes_of(kind: type[Objective]) -> dict[str, float]:
    """Forward and backward passes of a sample at a step, with default parameters."""
    made = kind(teacher=nn.Identity()) if issubclass(kind, Distillation) else kind()
    cost = made.inner_passes().plus(made.update_passes())
    return {"forward": round(cost.forward, 3), "backward": round(cost.backward, 3)}


def _labelled(part: object) -> str:
    return part.label() if isinstance(part, Attack) else str(part)


def _own(text: str, pairs: Mapping[str, str], defaults: Mapping[str, Any] | None) -> Objective:
    value = load_attribute(text, "objective")
    if not callable(value):
        raise UsageError(f"objective {text} is a {type(value).__name__}: give a training.Objective")
    try:
        made = _made(value, text, pairs, defaults)
    except TemperingError:
        raise
    except Exception as error:
        raise UsageError(f"objective {text} failed: {type_and_message(error)}") from error
    if not isinstance(made, Objective):
        raise UsageError(
            f"objective {text} returned {type(made).__name__}: return a training.Objective"
        )
    return made


def _made(
    value: Callable[..., object],
    text: str,
    pairs: Mapping[str, str],
    defaults: Mapping[str, Any] | None,
) -> object:
    """An objective of one's own with its parameters, from a value, a class or a function."""
    if isinstance(value, Objective):
        return dataclasses.replace(value, **_read(pairs, _fields(type(value)), text))
    if isinstance(value, type) and issubclass(value, Objective):
        given = _read(pairs, _fields(value), text)
        return value(**{**_inherited(value, defaults), **given})
    hints = typing.get_type_hints(value)
    parameters = inspect.signature(value).parameters.values()
    types = {entry.name: _type_of(entry, hints) for entry in parameters}
    return value(**_read(pairs, types, text))


def _type_of(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    """The declared type of a function's parameter, or that of its default."""
    if parameter.name in hints:
        return hints[parameter.name]
    return float if parameter.default is parameter.empty else type(parameter.default)


def _inherited(kind: type[Objective], defaults: Mapping[str, Any] | None) -> dict[str, Any]:
    """Those defaults that the objective has a parameter for."""
    return {key: value for key, value in (defaults or {}).items() if key in _fields(kind)}
