"""Tensors in a trace that no image can change."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor, fx

_FILLED = (
    "zeros_like",
    "ones_like",
    "full_like",
    "new_zeros",
    "new_ones",
    "new_full",
    "zeros",
    "ones",
    "full",
)
"""Calls whose result depends on shapes and types alone."""
_SIZED = (
    *("expand", "expand_as", "repeat", "view", "view_as", "reshape", "reshape_as", "flatten"),
    *("to", "type_as", "broadcast_to"),
)
"""Calls of which only the first argument's numbers are used."""


def is_constant(
    node: fx.Node, kind: str, constants: Container[fx.Node], numbers: Container[fx.Node]
) -> bool:
    """Whether what a node returns depends on no image, but perhaps on how many there are.

    Args:
        node: Of the trace.
        kind: Name of the function or method.
        constants: Nodes known to depend on no image.
        numbers: Nodes that depend on the number of images.
    """
    sources = node.all_input_nodes
    if all(source in constants for source in sources):
        return True
    if kind in _FILLED:
        fill = [part for part in node.args[1:] if isinstance(part, fx.Node)]
        return all(part in constants or part in numbers for part in fill)
    return kind in _SIZED and node.args[0] in constants


def same_for_all(values: Sequence[Any]) -> Any:
    """A value that is the same for all samples, with one row for all; None if it is not.

    Args:
        values: For each number of images.
    """
    first = values[0]
    if not isinstance(first, Tensor):
        return first
    if all(value.shape == first.shape and torch.equal(value, first) for value in values):
        return first
    row = first[:1]
    same = all(
        value.shape[1:] == row.shape[1:] and torch.equal(value, row.expand_as(value))
        for value in values
    )
    return row if same else None
