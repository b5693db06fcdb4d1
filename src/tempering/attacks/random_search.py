"""Random search: points are moved at random, and stay where that brings them nearer to success."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle

Move = Callable[[Tensor, Tensor], Tensor]
"""From samples and the number of a query for each, both (m,), int64, to points (m, c, h, w)."""


class RandomSearch:
    """The best points so far, and what the model says of them.

    Attributes:
        best: Points, shape (n, c, h, w).
        gap: Their margins in the attacker's favour, shape (n,).
        fooled: Which samples were fooled at any point, shape (n,), bool.
    """

    def __init__(self, oracle: Oracle, start: Tensor, until_fooled: bool) -> None:
        """Ask about the first points; a query each.

        Args:
            oracle: Is asked about every point.
            start: Where the search begins, shape (n, c, h, w); changed in place.
            until_fooled: Whether a sample leaves as soon as it is fooled.
        """
        self.oracle, self.best, self._until_fooled = oracle, start, until_fooled
        self._everyone = torch.arange(len(start), device=start.device)
        self.gap, self.fooled = oracle.margins(start, self._everyone)

    def standing(self, among: Tensor | None = None) -> Tensor:
        """Samples to go on with, by number, of all or among some, int64."""
        rows = self._everyone if among is None else among
        return rows[~self.fooled[rows]] if self._until_fooled else rows

    def nearer(self, rows: Tensor, before: Tensor, share: float) -> Tensor:
        """Whether samples are fooled, or have made up some share of a gap, shape of rows, bool.

        Args:
            rows: Samples, shape (m,), int64.
            before: Margins of all samples at an earlier time, shape (n,).
            share: Of what was missing then, from 0 to 1.
        """
        made_up = self.gap[rows] - before[rows] >= share * before[rows].abs()
        return made_up | self.fooled[rows]

    def ask(self, rows: Tensor, tried: Tensor, always: bool = False) -> None:
        """Ask about new points, and keep those that are better; a query each.

        Args:
            rows: Samples, shape (m,), int64.
            tried: A point for each, shape (m, c, h, w).
            always: Whether to keep them even if they are not.
        """
        here, won = self.oracle.margins(tried, rows)
        better = (here > self.gap[rows]) | won & ~self.fooled[rows]
        kept = (better | always).nonzero()[:, 0]
        self._keep(rows[kept], tried.index_select(0, kept), here[kept])
        self.fooled[rows] |= won

    def _keep(self, rows: Tensor, points: Tensor, gap: Tensor) -> None:
        self.best.index_copy_(0, rows, points)
        self.gap[rows] = gap

    def ask_ahead(self, rows: Tensor, queries: range, move: Move) -> None:
        """Ask about several queries of each sample at once, as if it were one after the other.

        Moves start from the best point, so the first one that is better makes those after it
        void: they are made and asked anew. So it takes some queries more, and for few samples
        far less time, since a small batch takes about as long as a smaller one. A model that
        may be shown a sample only once at a time is asked one after the other.

        Args:
            rows: Samples, shape (m,), int64.
            queries: Their numbers.
            move: Moves the best points.
        """
        if self.oracle.stateful or len(queries) == 1:
            for query in queries:
                rows = self.standing(rows)
                self.ask(rows, move(rows, torch.full_like(rows, query)))
            return
        ahead = torch.arange(len(queries), device=rows.device)
        number = queries.start + ahead
        answered = torch.zeros_like(rows)
        while bool((answered < len(queries)).any()):
            sample, which = (ahead >= answered[:, None]).nonzero(as_tuple=True)
            asked = rows[sample]
            tried = move(asked, number[which])
            here, won = self.oracle.margins(tried, asked)
            better = (here > self.gap[asked]) | won & ~self.fooled[asked]
            first = torch.full_like(rows, len(queries))
            first.scatter_reduce_(0, sample[better], which[better], "amin")
            taken = (which == first[sample]).nonzero()[:, 0]
            changed = asked[taken]
            self._keep(changed, tried.index_select(0, taken), here[taken])
            self.fooled[changed] |= won[taken]
            answered = first + 1
            if self._until_fooled:
                answered[self.fooled[rows]] = len(queries)
