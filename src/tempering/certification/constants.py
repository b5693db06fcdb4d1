"""Tensors in a trace that no image can change."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor, fx

_LIKE = ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
"""Calls whose result depends on the shape and type of the first argument."""
_FILLED = ("zeros", "ones", "full")
"""Calls whose result depends on sizes alone."""
_SIZED = ("expand", "repeat", "view", "reshape", "flatten", "broadcast_to")
"""Calls of which only the first argument's numbers are used, and sizes."""
_AS = ("expand_as", "view_as", "reshape_as", "to", "type_as")
"""Calls of which only the first argument's numbers are used, and shape and type of another."""


def is_size(node: fx.Node, sizes: Container[fx.Node], constants: Container[fx.Node]) -> bool:
    """Whether a number follows from how many images there are, and from none of their values.

    Args:
        node: One that returns no tensor.
        sizes: Nodes of which this is known.
        constants: Nodes known to depend on no image.
    """
    if node.op == "call_method" and node.target in ("size", "dim", "numel", "nelement"):
        return True
    if node.target is getattr and node.args[1] == "shape":
        return True
    return all(source in sizes or source in constants for source in node.all_input_nodes)


def is_constant(
    node: fx.Node, kind: str, constants: Container[fx.Node], sizes: Container[fx.Node]
) -> bool:
    """Whether what a node returns depends on no image, but perhaps on how many there are.

    Args:
        node: Of the trace.
        kind: Which function or method of torch it calls.
        constants: Nodes known to depend on no image.
        sizes: Nodes that depend on the number of images alone.
    """
    sources = node.all_input_nodes
    if all(source in constants for source in sources):
        return True
    first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
    if kind in _AS:
        return first in constants
    rest = sources if kind in _FILLED else [source for source in sources if source is not first]
    known = all(source in constants or source in sizes for source in rest)
    if kind in _FILLED or kind in _LIKE:
        return known
    return known and kind in _SIZED and first in constants


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
