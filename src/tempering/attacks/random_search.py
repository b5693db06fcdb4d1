"""Random search: points are moved at random, and stay where that brings them nearer to success."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle


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
        changed = rows if always else rows[better]
        self.best[changed] = tried if always else tried[better]
        self.gap[changed] = here if always else here[better]
        self.fooled[rows] |= won
