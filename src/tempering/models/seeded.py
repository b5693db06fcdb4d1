"""Seeded initialisation that leaves torch's global generators unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context in which weights created on the CPU depend on the seed alone.

    Torch's global generators are restored on exit.

    Example:
        >>> with seeded(0):
        ...     first = torch.nn.Linear(2, 2).weight
        >>> with seeded(0):
        ...     second = torch.nn.Linear(2, 2).weight
        >>> torch.equal(first, second)
        True
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        yield
