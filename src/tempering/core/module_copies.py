"""Copies of models, also of those that keep what cannot be copied."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tempering.core.references import ATOMS, refers_to
from tempering.core.user_code import users_code

M = TypeVar("M", bound=nn.Module)

_REMEDY = "give file.py:factory, or a model whose attributes can be copied"


def copied_module(model: M) -> M:
    """An independent copy of a model.

    Activations that the model keeps are copied without their graph. Parameters made in
    inference mode become ordinary ones. Attributes that cannot be copied, such as locks and
    open files, are shared.

    Args:
        model: Any module; it is left as it is.

    Raises:
        ModelError: If the copy fails in the model's own code.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> copied_module(net).weight is net.weight
        False
    """
    with torch.inference_mode(False):
        memo = {id(tensor): _ordinary(tensor) for tensor in _tensors(model) if _is_odd(tensor)}
        try:
            return copy.deepcopy(model, dict(memo))
        except Exception:
            shared = {id(value): value for value in _uncopyable(model)}
        with users_code("the model cannot be copied", _REMEDY):
            return copy.deepcopy(model, {**memo, **shared})


def _is_odd(tensor: Tensor) -> bool:
    """Whether `deepcopy` refuses a tensor, or makes one that cannot be trained."""
    return not tensor.is_leaf or tensor.is_inference()


def _ordinary(tensor: Tensor) -> Tensor:
    plain = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(plain, requires_grad=tensor.requires_grad)
    return plain


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        yield from _within(vars(module), set())


def _within(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Tensors in a value and in the containers that it holds."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
        seen.add(id(value))
        for item in value.values() if isinstance(value, dict) else value:
            yield from _within(item, seen)


def _uncopyable(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        for name, value in vars(module).items():
            if type(value) in ATOMS or (name.startswith("_") and hasattr(nn.Module(), name)):
                continue
            if refers_to([value], lambda _: True):
                continue  # it must refer to the copy's modules
            try:
                copy.deepcopy(value)
            except TypeError:
                yield value
            except Exception:
                continue
