"""The active set: samples that an iterative attack works on, each with its own state.

A finished sample leaves at once. Waiting samples enter when half of the batch is free, so
batches stay full and no pass is spent on a finished sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self, TypeVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem


@dataclass
class ActiveSet:
    """The state of some samples; every field is a tensor with one row per sample.

    Attributes:
        ids: Row numbers in the problem, shape (n,), int64.
    """

    ids: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def keep(self, rows: Tensor) -> Self:
        """Only some rows, by number, int64."""
        return type(self)(*(part.index_select(0, rows) for part in self._parts()))

    def join(self, other: Self) -> Self:
        """These rows and others."""
        pairs = zip(self._parts(), other._parts(), strict=True)
        return type(self)(*(torch.cat(pair) for pair in pairs))

    def _parts(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]


R = TypeVar("R", bound=ActiveSet)


def run_active_set(
    problem: Problem,
    ids: Tensor,
    enter: Callable[[Tensor], R],
    advance: Callable[[R], Tensor | None],
    leave: Callable[[R], None],
) -> None:
    """Iterate until all samples have left.

    Args:
        problem: Gives the batch size.
        ids: The samples, shape (n,), int64.
        enter: From sample numbers to their initial state.
        advance: One iteration of all rows; which of them are finished, shape (n,), bool, or
            None if none is.
        leave: Receives the state of finished rows.
    """
    size = problem.batch_size
    rows, queue = enter(ids[:size]), ids[size:]
    while len(rows):
        done = advance(rows)
        if done is None:
            continue
        leave(rows.keep(done.nonzero()[:, 0]))
        rows = rows.keep((~done).nonzero()[:, 0])
        if len(queue) and len(rows) <= size // 2:
            free = size - len(rows)
            rows = rows.join(enter(queue[:free]))
            queue = queue[free:]
