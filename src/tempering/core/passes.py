"""Counting the cost of a measurement in forward and backward passes, in total and per sample.

Counters belong to the thread that opened them (context variables): threads count separately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor


@dataclass
class Passes:
    """Passes of single samples through a model.

    Attributes:
        forward: Samples sent forward.
        backward: Samples sent backward.
    """

    forward: int = 0
    backward: int = 0


@dataclass
class SampleCounts:
    """Passes of each sample, by its number.

    Attributes:
        forward: Sample -> forward passes.
        backward: Sample -> backward passes.
        no_start: Sample -> searches of a decision attack that found no image to start from.
        no_gradient: Sample -> gradients that were not finite, and were replaced by zeros.
    """

    forward: Counter[int] = field(default_factory=Counter)
    backward: Counter[int] = field(default_factory=Counter)
    no_start: Counter[int] = field(default_factory=Counter)
    no_gradient: Counter[int] = field(default_factory=Counter)


_TOTALS: ContextVar[tuple[Passes, ...]] = ContextVar("totals", default=())
_PER_SAMPLE: ContextVar[SampleCounts | None] = ContextVar("per_sample", default=None)
_TOLERANT: ContextVar[bool] = ContextVar("tolerant", default=False)


@contextmanager
def counted() -> Iterator[Passes]:
    """Count the passes made within; counters nest.

    Example:
        >>> with counted() as passes:
        ...     add_passes(forward=8)
        >>> passes.forward
        8
    """
    passes = Passes()
    token = _TOTALS.set((*_TOTALS.get(), passes))
    try:
        yield passes
    finally:
        _TOTALS.reset(token)


@contextmanager
def uncounted() -> Iterator[None]:
    """Count no pass made within, such as those of a training.

    Example:
        >>> with counted() as passes, uncounted():
        ...     add_passes(forward=8)
        >>> passes.forward
        0
    """
    token = _TOTALS.set(())
    try:
        yield
    finally:
        _TOTALS.reset(token)


@contextmanager
def counted_per_sample() -> Iterator[SampleCounts]:
    """Count the passes made within for each sample; only the innermost counter counts.

    Example:
        >>> import torch
        >>> with counted_per_sample() as counts:
        ...     count_pass("forward", torch.zeros(3, 1), torch.tensor([3, 4, 3]))
        >>> counts.forward[3]
        2
    """
    counts = SampleCounts()
    token = _PER_SAMPLE.set(counts)
    try:
        yield counts
    finally:
        _PER_SAMPLE.reset(token)


def add_passes(forward: int = 0, backward: int = 0) -> None:
    """Add passes to every open total."""
    for passes in _TOTALS.get():
        passes.forward += forward
        passes.backward += backward


def count_pass(
    kind: Literal["forward", "backward"], x: Tensor, index: Tensor | None, times: int = 1
) -> None:
    """Count passes of a batch, in total and per sample.

    Args:
        kind: `forward` or `backward`.
        x: The batch, first dimension samples.
        index: Sample numbers, shape (n,); without them only totals count.
        times: Passes of each sample.
    """
    add_passes(**{kind: times * len(x)})
    counts = _PER_SAMPLE.get()
    if counts is not None and index is not None:
        getattr(counts, kind).update(index.tolist() * times)


def count_no_start(index: Tensor) -> None:
    """Count samples for which a decision attack found no image to start from, shape (n,)."""
    counts = _PER_SAMPLE.get()
    if counts is not None:
        counts.no_start.update(index.tolist())


@contextmanager
def gradients_replaced() -> Iterator[None]:
    """Within it, gradients that are not finite become zero and are counted, not refused.

    Whoever opens it must attack such samples without gradients as well: an attack that sees a
    gradient of zero does not move.
    """
    token = _TOLERANT.set(True)
    try:
        yield
    finally:
        _TOLERANT.reset(token)


def replaces_gradients() -> bool:
    """Whether the caller is within `gradients_replaced()`."""
    return _TOLERANT.get()


def count_no_gradient(index: Tensor) -> None:
    """Count samples whose gradient is not finite, shape (n,)."""
    counts = _PER_SAMPLE.get()
    if counts is not None:
        counts.no_gradient.update(index.tolist())
