"""Functions of torch by name, for modes that watch or replace them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def functions_named(names: str) -> frozenset[Any]:
    """Functions and methods of these names in torch, `torch.Tensor` and `torch.nn.functional`.

    Args:
        names: With spaces between.

    Example:
        >>> torch.clamp in functions_named("clamp tanh")
        True
    """
    owners = (torch, Tensor, nn.functional)
    pairs = ((owner, name) for name in names.split() for owner in owners)
    return frozenset(getattr(owner, name) for owner, name in pairs if hasattr(owner, name))


def in_place(names: str) -> str:
    """The names of the same functions in place.

    Example:
        >>> in_place("clamp tanh")
        'clamp_ tanh_'
    """
    return " ".join(f"{name}_" for name in names.split())
