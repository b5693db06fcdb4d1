"""Logits in what users' models return."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def logits_in(outputs: Any) -> Any:
    """The logits of an output object, such as those of Hugging Face models; else the output."""
    inner = getattr(outputs, "logits", None)
    return inner if isinstance(inner, Tensor) and not isinstance(outputs, Tensor) else outputs


def first_logits_in(outputs: Any) -> Any:
    """As `logits_in`; of a tuple, such as logits and auxiliary logits, the first."""
    outputs = logits_in(outputs)
    if isinstance(outputs, tuple | list) and outputs and isinstance(outputs[0], Tensor):
        return outputs[0]
    return outputs


@contextmanager
def returning_logits(model: nn.Module) -> Iterator[None]:
    """Within it, a model in training mode returns its logits alone."""
    handle = model.register_forward_hook(lambda _model, _given, out: first_logits_in(out))
    try:
        yield
    finally:
        handle.remove()
