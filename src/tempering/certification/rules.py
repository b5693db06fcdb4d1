"""Which rule bounds which layer: a registry by the type of the layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import getattr_static
from types import FunctionType
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from tempering.certification.called_functions import code_names, is_users
from tempering.core.errors import UsageError
from tempering.core.protocols import Transform

if TYPE_CHECKING:
    from tempering.certification.layer_call import LayerCall, Lowered

Rule = Callable[["LayerCall"], "Lowered"]
"""From the call of a layer or function to the operations that it consists of."""
R = TypeVar("R", bound=Rule)

LAYER_RULES: dict[type[nn.Module], Rule] = {}
"""Type of a layer -> its rule."""
FUNCTION_RULES: dict[str, Rule] = {}
"""Name of a function, operator or method of torch -> its rule."""


def register_rule(*kinds: type[nn.Module]) -> Callable[[R], R]:
    """Decorate the rule of one or more types of layers.

    The rule also holds for subclasses that override neither `forward` nor `transform`. A layer
    without a rule is traced: it needs none if its forward consists of operations that have one.

    Args:
        *kinds: Types of layers, none of which has a rule.

    Raises:
        UsageError: If a type has a rule already.

    Example:
        >>> import torch
        >>> from tempering.certification.layer_call import in_sequence, scale_shift
        >>> class Halved(nn.Module):
        ...     def forward(self, x):
        ...         return torch.ldexp(x, torch.tensor(-1))
        >>> @register_rule(Halved)
        ... def halved(call):
        ...     half = torch.full((1,), 0.5, dtype=torch.float64)
        ...     return in_sequence(call, scale_shift(call, half, 0 * half, roundings=1))
    """

    def enter(rule: R) -> R:
        for kind in kinds:
            if kind in LAYER_RULES:
                raise UsageError(f"{kind.__name__} has a rule already: give another type")
            LAYER_RULES[kind] = rule
        return rule

    return enter


def register_function_rule(*names: str) -> Callable[[R], R]:
    """Decorate the rule of functions, operators or methods of torch, by name.

    Raises:
        UsageError: If a name has a rule already.
    """

    def enter(rule: R) -> R:
        for name in names:
            if name in FUNCTION_RULES:
                raise UsageError(f"{name} has a rule already: give another name")
            FUNCTION_RULES[name] = rule
        return rule

    return enter


def computing_type(module: nn.Module) -> type[nn.Module]:
    """The class that defines what a layer computes: its `forward`, or `transform` if it has one.

    A subclass of a user that overrides what these call or read computes something of its own.

    A transform that declares that it is stepwise is a `Transform`, unless it has a rule of its own.
    """
    kind = _computing(module)
    stepwise = isinstance(module, Transform) and module.stepwise and declares(module, "stepwise")
    return Transform if stepwise and kind not in LAYER_RULES else kind


def declares(module: nn.Module, name: str) -> bool:
    """Whether an attribute is told by the class that defines what a layer computes, or a later one.

    A subclass with a `transform` of its own inherits what another one declared of another function.

    Args:
        module: The layer.
        name: Of the attribute.
    """
    if "transform" in vars(module):
        return False
    bases = type(module).__mro__
    upto = bases.index(_computing(module)) + 1
    return name in vars(module) or any(name in vars(base) for base in bases[:upto])


def _computing(module: nn.Module) -> type[nn.Module]:
    """The class that defines what a layer computes, or overrides what this class calls for it."""
    bases = type(module).__mro__
    first = next(base for base in bases if {"forward", "transform"} & set(vars(base)))
    names = _called(first)
    users = [base for base in bases[: bases.index(first)] if is_users(base)]
    return next((base for base in users if not names.isdisjoint(vars(base))), first)


@cache
def _called(kind: type[nn.Module]) -> frozenset[str]:
    """Names of attributes that the forward of a class uses, and methods that it calls."""
    names, waiting = {"__call__", "__getattr__", "__getattribute__"}, ["forward", "transform"]
    while waiting:
        found = getattr_static(kind, waiting.pop(), None)
        found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
        if isinstance(found, FunctionType):
            used = {name for name in code_names(found.__code__) if not name.startswith("__")}
            waiting += used - names
            names |= used
    return frozenset(names)
