"""Random search that changes one square window per query."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.random_search import RandomSearch
from tempering.attacks.square_moves import moves_for
from tempering.core.random import RandomStreams

_STREAMS = 8192
"""Streams that are drawn from in one call: a call costs more than its numbers."""


@dataclass(frozen=True, eq=False)
class SquareSearch:
    """A random search and the window changes that drive it.

    Attributes:
        points: The best points so far.
        problem: Samples, threat and streams.
        purpose: Label of the streams; the number of the query follows it.
    """

    points: RandomSearch
    problem: Problem
    purpose: str

    def run(self, rows: Tensor, queries: range, side: int) -> Tensor:
        """Make queries with windows of one side.

        Args:
            rows: Samples, shape (m,), int64.
            queries: Numbers of the queries, from 0.
            side: Side of the windows, in pixels.

        Returns:
            The samples that are still searched, int64.
        """
        rows = self.points.active(rows)
        while queries and len(rows):
            block = max(1, _STREAMS // len(rows))
            self._run_block(rows, queries[:block], side)
            queries, rows = queries[block:], self.points.active(rows)
        return rows

    def _run_block(self, rows: Tensor, queries: range, side: int) -> None:
        """Queries whose changes are all drawn beforehand."""
        x, count = self.problem.x, len(rows)
        moves = moves_for(self.problem.threat)
        streams = self.problem.streams[rows]
        changes = moves.draw(
            RandomStreams.side_by_side([streams.derive(self.purpose, query) for query in queries]),
            x,
            side,
        )
        place = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        place[rows] = torch.arange(count, device=x.device)
        for number in range(len(queries)):
            rows = self.points.active(rows)
            if not len(rows):
                return
            change = changes[number * count + place[rows]]
            best = self.points.best.index_select(0, rows)
            self.points.query(rows, moves.step(x.index_select(0, rows), best, change))
