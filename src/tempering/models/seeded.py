"""Seeded initialisation that leaves torch's global generators unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch

from tempering.core.errors import UsageError


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context in which weights created on the CPU depend on the seed alone.

    Torch's global generators are restored on exit.

    Raises:
        UsageError: If the seed is no whole number.

    Example:
        >>> with seeded(0):
        ...     first = torch.nn.Linear(2, 2).weight
        >>> with seeded(0):
        ...     second = torch.nn.Linear(2, 2).weight
        >>> torch.equal(first, second)
        True
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise UsageError(f"seed {seed!r}: give a whole number")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(int(seed))
        yield
