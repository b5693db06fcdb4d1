"""Logits in what a network returns: networks with auxiliary heads, and those with named outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


def logits_in(answer: object) -> object:
    """The logits in an answer: itself, its `logits`, or the first of several outputs.

    Args:
        answer: Whatever a network returned.

    Returns:
        The logits; the answer itself if there are none in it.

    Example:
        >>> import torch
        >>> logits_in((torch.zeros(2, 3), "features")).shape
        torch.Size([2, 3])
    """
    if isinstance(answer, Tensor):
        return answer
    named = answer.get("logits") if isinstance(answer, Mapping) else None
    named = getattr(answer, "logits", None) if named is None else named
    if isinstance(named, Tensor):
        return named
    if isinstance(answer, tuple | list) and answer and isinstance(answer[0], Tensor):
        return answer[0]
    return answer


def taken_from(answer: object) -> str:
    """Which part of an answer `logits_in` takes, in words.

    Example:
        >>> taken_from(("logits", "features"))
        'the first of the 2 outputs of a tuple'
    """
    if isinstance(answer, tuple | list) and not hasattr(answer, "logits"):
        return f"the first of the {len(answer)} outputs of a {type(answer).__name__}"
    return f"`logits` of a {type(answer).__name__}"


@contextmanager
def returning_logits(model: nn.Module) -> Iterator[None]:
    """Within it, a model that returns more than its logits returns these alone."""
    handle = model.register_forward_hook(lambda _model, _given, answer: logits_in(answer))
    try:
        yield
    finally:
        handle.remove()
