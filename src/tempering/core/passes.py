"""Counting what a measurement costs: forward and backward passes, one a sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Passes:
    """Passes of single samples through a model.

    Attributes:
        forward: Samples sent forward.
        backward: Samples sent backward.
    """

    forward: int = 0
    backward: int = 0


_COUNTERS: ContextVar[tuple[Passes, ...]] = ContextVar("passes", default=())


@contextmanager
def counted() -> Iterator[Passes]:
    """Count the passes made within; counters nest.

    Example:
        >>> with counted() as passes:
        ...     note(forward=8)
        >>> passes.forward
        8
    """
    passes = Passes()
    token = _COUNTERS.set((*_COUNTERS.get(), passes))
    try:
        yield passes
    finally:
        _COUNTERS.reset(token)


@contextmanager
def uncounted() -> Iterator[None]:
    """Count no pass made within, such as those of a training.

    Example:
        >>> with counted() as passes, uncounted():
        ...     note(forward=8)
        >>> passes.forward
        0
    """
    token = _COUNTERS.set(())
    try:
        yield
    finally:
        _COUNTERS.reset(token)


def note(forward: int = 0, backward: int = 0) -> None:
    """Add passes to every open counter."""
    for passes in _COUNTERS.get():
        passes.forward += forward
        passes.backward += backward
