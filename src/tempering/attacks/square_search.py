"""Random search that changes one square window a query."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.ahead import ahead as streams_ahead
from tempering.attacks.base import Problem
from tempering.attacks.random_search import RandomSearch
from tempering.attacks.square_moves import MOVES

_STREAMS = 8192
"""How many streams are drawn from at once: drawing costs calls more than numbers."""


@dataclass(frozen=True, eq=False)
class SquareSearch:
    """Changes of windows, and the search that they move.

    Attributes:
        search: The best points so far.
        problem: Samples, threat and streams.
        purpose: Of the streams; the number of a query is their last label.
    """

    search: RandomSearch
    problem: Problem
    purpose: str

    def go_on(self, rows: Tensor, queries: range, side: int, ahead: int) -> Tensor:
        """Some queries with windows of one side.

        Args:
            rows: Samples, by number, shape (m,), int64.
            queries: Their numbers, from 0.
            side: Of the windows, in pixels.
            ahead: How many to ask at once.

        Returns:
            Samples to go on with, by number.
        """
        rows = self.search.standing(rows)
        while queries and len(rows):
            turns = max(1, _STREAMS // (len(rows) * ahead))
            self._drawn_at_once(rows, queries[: turns * ahead], side, ahead)
            queries, rows = queries[turns * ahead :], self.search.standing(rows)
        return rows

    def _drawn_at_once(self, rows: Tensor, queries: range, side: int, ahead: int) -> None:
        threat, x, many = self.problem.threat, self.problem.x, len(rows)
        moves = MOVES[threat.name](threat.eps)
        streams = streams_ahead(self.problem.streams[rows], queries, self.purpose)
        changes = moves.draw(streams, x, side)
        place = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        place[rows] = torch.arange(many, device=x.device)

        def move(asked: Tensor, numbers: Tensor) -> Tensor:
            change = changes[(numbers - queries.start) * many + place[asked]]
            best = self.search.best.index_select(0, asked)
            return moves.step(x.index_select(0, asked), best, change)

        for first in queries[::ahead]:
            rows = self.search.standing(rows)
            if len(rows):
                turn = range(first, min(first + ahead, queries.stop))
                self.search.ask_ahead(rows, turn, move)
