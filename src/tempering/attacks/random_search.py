"""Random search: a change of a point is kept if it increases the margin."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.query_oracle import QueryOracle


class RandomSearch:
    """The best point of each sample so far.

    Attributes:
        best: Points, shape (n, c, h, w).
        margin: Their margins in the attacker's favour, shape (n,).
        fooled: Which samples have been fooled, shape (n,), bool.
    """

    def __init__(self, oracle: QueryOracle, start: Tensor, until_fooled: bool) -> None:
        """Query the initial points, once per sample.

        Args:
            oracle: Answers all queries.
            start: Initial points, shape (n, c, h, w); changed in place.
            until_fooled: Whether a sample leaves as soon as it is fooled.
        """
        self.oracle, self.best, self._until_fooled = oracle, start, until_fooled
        self._all = torch.arange(len(start), device=start.device)
        self.margin, self.fooled = oracle.margins(start, self._all)

    def active(self, rows: Tensor | None = None) -> Tensor:
        """Samples that are still searched, of all or of some, int64."""
        rows = self._all if rows is None else rows
        return rows[~self.fooled[rows]] if self._until_fooled else rows

    def query(self, rows: Tensor, candidates: Tensor, always_keep: bool = False) -> None:
        """Query one candidate per sample and keep those that are better.

        Args:
            rows: Samples, shape (m,), int64.
            candidates: Points, shape (m, c, h, w).
            always_keep: Whether to keep candidates that are not better, too.
        """
        margin, success = self.oracle.margins(candidates, rows)
        better = (margin > self.margin[rows]) | success & ~self.fooled[rows]
        kept = (better | always_keep).nonzero()[:, 0]
        self.best.index_copy_(0, rows[kept], candidates.index_select(0, kept))
        self.margin[rows[kept]] = margin[kept]
        self.fooled[rows] |= success
