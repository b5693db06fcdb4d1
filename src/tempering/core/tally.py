"""Counting sample by sample, for those who ask: passes, and searches that found no start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor


@dataclass
class Tally:
    """Passes of each sample, by its number in `RandomStreams.index`.

    Attributes:
        forward: Sample -> times that it was sent forward.
        backward: Sample -> times that it was sent backward.
        no_start: Sample -> times that a decision attack found no image to start from.
    """

    forward: Counter[int] = field(default_factory=Counter)
    backward: Counter[int] = field(default_factory=Counter)
    no_start: Counter[int] = field(default_factory=Counter)


_TALLY: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def tallied() -> Iterator[Tally]:
    """Count the passes made within, for each sample; the innermost tally alone counts.

    Example:
        >>> import torch
        >>> with tallied() as counts:
        ...     tally("forward", torch.tensor([3, 4, 3]))
        >>> counts.forward[3]
        2
    """
    counts = Tally()
    token = _TALLY.set(counts)
    try:
        yield counts
    finally:
        _TALLY.reset(token)


def tally(kind: Literal["forward", "backward", "no_start"], index: Tensor | None) -> None:
    """Count one for each of some samples; what happens to unnamed samples is not counted here."""
    counts = _TALLY.get()
    if counts is not None and index is not None:
        getattr(counts, kind).update(index.tolist())
