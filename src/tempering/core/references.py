"""Finding references to the modules of a model in functions and objects that are no modules."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

ATOMS = frozenset(
    {
        *(bool, int, float, complex, str, bytes, type, type(None), type(Ellipsis)),
        *(ModuleType, BuiltinFunctionType),
        *(Tensor, torch.Size, torch.dtype, torch.device, torch.Generator),
    }
)
"""Types of values that refer to no module."""
_MAX_OBJECTS = 2_000
"""Objects that are searched."""
_SEARCHED = ("builtins", "collections", "functools", "types", "weakref")
"""Parts of the standard library whose objects may refer to a user's modules."""


def refers_to(value: Any, wanted: Callable[[nn.Module], bool]) -> bool:
    """Whether a module can be reached from a function or object.

    Args:
        value: A function, whose closure, defaults and named global variables are searched,
            or an object. Objects of torch, numpy and most of the standard library are not.
        wanted: Whether a module is one of those looked for.

    Returns:
        Whether there is one; True also if there are too many objects to tell.
    """
    waiting, seen = [value], {id(value)}
    while waiting:
        for item in _referents(waiting.pop()):
            if id(item) in seen or type(item) in ATOMS or isinstance(item, type | Tensor):
                continue
            seen.add(id(item))
            if isinstance(item, nn.Module):
                if wanted(item):
                    return True
            elif len(seen) > _MAX_OBJECTS:
                return True
            else:
                waiting.append(item)
    return False


def global_names(function: Any) -> tuple[str, ...]:
    """Global variables that a function, or one defined within it, may read; () for others."""
    if not isinstance(function, FunctionType):
        return ()
    return tuple(_names(function.__code__) & function.__globals__.keys())


def _referents(value: Any) -> list[Any]:
    if isinstance(value, FunctionType):
        named = [value.__globals__[name] for name in global_names(value)]
        cells = [_content(cell) for cell in value.__closure__ or ()]
        return [*named, *cells, value.__defaults__, value.__kwdefaults__, *vars(value).values()]
    root = type(value).__module__.partition(".")[0].lstrip("_")
    if root in ("torch", "numpy") or (root in sys.stdlib_module_names and root not in _SEARCHED):
        return []
    return gc.get_referents(value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _names(code: CodeType) -> set[str]:
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)
