"""Copies of users' modules, also of those that hold computed tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError, first_line


def copied_module(model: nn.Module) -> nn.Module:
    """A copy of a module that shares no memory with it.

    Modules may keep activations, or weights that a hook computes (`weight_norm`): tensors that
    autograd has computed, which `copy.deepcopy` refuses. Their values are copied without history.

    Args:
        model: Any module.

    Raises:
        ModelError: If it cannot be copied; says why.

    Example:
        >>> net = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
        >>> net.seen = net(torch.ones(1, 2))
        >>> copied_module(net).seen.requires_grad
        False
    """
    memo: dict[int, Any] = {id(value): value.detach().clone() for value in _computed(model)}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied: {first_line(error)}: give file.py:factory, "
            "which builds it anew, or keep no such object in the module"
        ) from error


def _computed(model: nn.Module) -> Iterator[Tensor]:
    """Tensors with a history in the attributes of modules, and in lists and dictionaries there."""
    for module in model.modules():
        for value in vars(module).values():
            yield from _within(value)


def _within(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.grad_fn is not None:
            yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _within(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _within(part)


def in_float32(model: nn.Module) -> nn.Module:
    """The module with float64 weights as float32; it is changed.

    Training and attacks pass images in float32.
    """
    tensors = [*model.parameters(), *model.buffers()]
    return model.float() if any(tensor.dtype == torch.float64 for tensor in tensors) else model
