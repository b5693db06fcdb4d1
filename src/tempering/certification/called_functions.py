"""The functions of a user that a forward calls, as far as names tell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any


def is_users(value: Any) -> bool:
    """Whether an object or class is neither of torch nor NumPy nor the standard library."""
    kind = value if isinstance(value, type) else type(value)
    return _is_users_module(kind.__module__)


def users_functions(value: Any) -> Iterator[FunctionType]:
    """The functions of a user in a function, a method, a property or what wraps one.

    Example:
        >>> list(users_functions(len))
        []
    """
    waiting = [value]
    while waiting:
        held = waiting.pop()
        if isinstance(held, FunctionType):
            if _is_users_module(held.__module__ or ""):
                yield held
            waiting.append(getattr(held, "__wrapped__", None))
        elif isinstance(held, MethodType | staticmethod | classmethod):
            waiting.append(held.__func__)
        elif isinstance(held, property):
            waiting += [held.fget, held.fset]
        elif isinstance(held, partial):
            waiting.append(held.func)
        elif hasattr(held, "cache_info"):
            waiting.append(getattr(held, "__wrapped__", None))


def called_methods(kind: type) -> Iterator[FunctionType]:
    """The methods of a user's class that its forward, or else any method, names.

    Args:
        kind: A class; one without a forward is an object that a module holds.
    """
    forward = getattr_static(kind, "forward", None)
    if forward is None:
        parts = [part for base in kind.__mro__ if is_users(base) for part in vars(base).values()]
        yield from (function for part in parts for function in users_functions(part))
        return
    waiting, seen = [*users_functions(forward)], set[int]()
    while waiting:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        yield function
        for name in code_names(function.__code__):
            waiting += users_functions(getattr_static(kind, name, None))


def code_names(code: CodeType) -> set[str]:
    """Names of global variables and attributes that code, or code within it, uses."""
    inner = [code_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def is_users_file(value: Any) -> bool:
    """Whether a value is a Python module of a user."""
    return isinstance(value, ModuleType) and _is_users_module(value.__name__)


def _is_users_module(name: str) -> bool:
    root = name.partition(".")[0].lstrip("_")
    return root not in ("torch", "numpy", "tempering") and root not in sys.stdlib_module_names
