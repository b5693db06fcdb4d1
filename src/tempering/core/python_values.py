"""Texts of values that exist in Python only: they identify a value and cannot be read again."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tempering.core.hashing import tensor_hash
from tempering.core.specs import FROM_PYTHON


def python_text(value: object) -> str:
    """The qualified class of a value and its attributes, in one line.

    Arrays, tensors and modules are given by the hash of their content, so that equal values
    have equal texts in every process.

    Example:
        >>> python_text(nn.ReLU())
        'python:torch.nn.modules.activation.ReLU(e3b0c44298fc1c14)'
    """
    return FROM_PYTHON + _described(value)


def plain(value: Any) -> Any:
    """A value for a record: numbers, text and collections of them stay, others become text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return _text(value)


def differences(value: object, other: object) -> list[str]:
    """Names of attributes that two values do not share; arrays are compared by content."""

    def differs(name: str) -> bool:
        left, right = getattr(value, name, ...), getattr(other, name, ...)
        return left is not right and (type(left) is not type(right) or _text(left) != _text(right))

    return [name for name in dict.fromkeys(_names(value) + _names(other)) if differs(name)]


def _names(value: Any) -> list[str]:
    names = [entry.name for entry in fields(value)] if is_dataclass(value) else []
    return [*dict.fromkeys([*names, *getattr(value, "__dict__", {})])]


def _described(value: Any) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, nn.Module):
        return f"{kind}({tensor_hash(value.state_dict())})"
    names = _names(value)
    return f"{kind}({', '.join(f'{name}={_text(getattr(value, name))}' for name in names)})"


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        return f"tensor({tensor_hash({'': value})})"
    if isinstance(value, nn.Module) or (is_dataclass(value) and not isinstance(value, type)):
        return _described(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_text(item)}' for key, item in value.items())}}}"
    return " ".join(re.sub(r" at 0x[0-9a-f]+", "", repr(value)).split())
