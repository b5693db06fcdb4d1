"""Square: random search over square windows, using scores only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.attacks.query_oracle import QueryOracle, check_queries
from tempering.attacks.random_search import RandomSearch
from tempering.attacks.square_moves import moves_for
from tempering.attacks.square_search import SquareSearch
from tempering.core.errors import UsageError
from tempering.core.probe import Probe

_HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Queries, out of 10,000, after which the window's share of the area is halved (2020 paper)."""


@dataclass(frozen=True)
class Square(Attack):
    """Random search: change a square window and keep the change if the margin increases.

    Andriushchenko, Croce, Flammarion and Hein, 'Square attack: a query-efficient
    black-box adversarial attack via random search', 2020, algorithms 1 to 3; in L1 after
    Croce and Hein, 'Mind the box: l1-APGD for sparse adversarial attacks', 2021. A sample
    leaves when it is fooled or its queries are spent. Its random draws depend on the
    sample and the number of the query only.

    Attributes:
        queries: Forward passes per sample at most, the first on the image itself.
        share: Share of the image's area that the first window covers, in (0, 1].
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    name: ClassVar[str] = "square"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    access: ClassVar[str] = "scores"
    source: ClassVar[str] = "Andriushchenko et al., 2020; Croce and Hein, 2021"
    cost: ClassVar[str] = "queries x forward"

    queries: int = 5000
    share: float = 0.8
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_queries(self.name, self.queries)
        if not 0 < self.share <= 1:
            raise UsageError(f"square: share = {self.share}: give more than 0 and at most 1")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The image of the largest margin found, or the first that succeeded."""
        search = self.begin(probe, problem)
        self.run(search, search.points.active(), range(1, self.queries))
        return search.points.best

    def begin(self, probe: Probe, problem: Problem) -> SquareSearch:
        """A search at the images themselves, which takes the first query."""
        oracle = QueryOracle(probe, problem, self.queries)
        points = RandomSearch(oracle, problem.x.clone(), self.until_fooled)
        return SquareSearch(points, problem, "query")

    def run(self, search: SquareSearch, rows: Tensor, queries: range) -> Tensor:
        """Make some queries of a search; the second one is the initial perturbation.

        Args:
            search: From `begin`; changed in place.
            rows: Samples, shape (m,), int64.
            queries: Numbers of the queries, from 1.

        Returns:
            The samples that are still searched, int64.
        """
        problem, rows = search.problem, search.points.active(rows)
        if 1 in queries and len(rows):
            streams = problem.streams[rows].derive("query", 1)
            start = moves_for(problem.threat).start(problem.x[rows], streams)
            search.points.query(rows, start, always_keep=True)
            queries = queries[1:]
        for side, block in groupby(queries, lambda query: self._side(query, problem.x.shape)):
            numbers = list(block)
            rows = search.run(rows, range(numbers[0], numbers[-1] + 1), side)
        return rows

    def _side(self, query: int, shape: torch.Size) -> int:
        """Side of the window at a query, from its share of the image's area."""
        scaled = (query - 2) / self.queries * 10_000
        share = self.share / 2 ** sum(scaled > limit for limit in _HALVINGS)
        return max(1, round(math.sqrt(share * shape[2] * shape[3])))
