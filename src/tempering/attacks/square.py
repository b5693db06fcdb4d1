"""Square: random search over square windows, with scores alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle, check_queries
from tempering.attacks.base import Attack, Problem
from tempering.attacks.random_search import RandomSearch
from tempering.attacks.square_moves import MOVES
from tempering.attacks.square_search import SquareSearch
from tempering.core.errors import UsageError
from tempering.core.probe import Probe

_HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which the window's share of the image is halved (the paper of 2020)."""


@dataclass(frozen=True)
class Square(Attack):
    """Random search: change a square window, keep the change if the margin grew.

    Andriushchenko, Croce, Flammarion and Hein, 'Square attack: a query-efficient
    black-box adversarial attack via random search', 2020, algorithms 1 to 3. Croce and
    Hein, 'Mind the box: l1-APGD for sparse adversarial attacks', 2021, carry it over to
    L1; what that takes is worked out here (`square_moves.Taxicab`). A sample leaves when
    it is fooled or when its queries are spent; what it draws depends on the sample and
    the number of the query alone.

    Attributes:
        queries: Forward passes a sample at most; the first is spent on the image itself.
        share: First window's share of the image's area, above 0 and at most 1.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    name: ClassVar[str] = "square"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    access: ClassVar[str] = "scores"
    source: ClassVar[str] = "Andriushchenko et al., 2020; Croce and Hein, 2021"
    cost: ClassVar[str] = "up to 5,000 forward passes a sample"

    queries: int = 5000
    share: float = 0.8
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_queries(self.name, self.queries)
        if not 0 < self.share <= 1:
            raise UsageError(f"square: share = {self.share}: give more than 0 and at most 1")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The image of the largest margin that was found, or the first that fooled."""
        search = self.begin(probe, problem)
        self.go_on(search, problem, range(1, self.queries))
        return search.best

    def begin(self, probe: Probe, problem: Problem) -> RandomSearch:
        """A search at the images themselves: the first query."""
        oracle = Oracle(probe, problem, self.queries)
        return RandomSearch(oracle, problem.x.clone(), self.until_fooled)

    def go_on(
        self,
        search: RandomSearch,
        problem: Problem,
        queries: range,
        among: Tensor | None = None,
        ahead: int = 1,
    ) -> None:
        """Some queries of a search.

        Args:
            search: Is moved.
            problem: Samples, threat and streams.
            queries: Their numbers.
            among: Samples, by number, shape (m,), int64; None for all.
            ahead: How many to ask at once: for few samples, more queries in less time.
        """
        among = search.standing(among)
        if queries.start == 1 and len(queries) and len(among):
            stripes = MOVES[problem.threat.name](problem.threat.eps)
            start = stripes.start(problem.x[among], problem.streams[among].derive("query", 1))
            search.ask(among, start, always=True)
            queries = queries[1:]
        windows = SquareSearch(search, problem, "query")
        while queries and len(among):
            alike = self._alike(queries, problem.x.shape)
            side = self._side(alike.start - 2, problem.x.shape)
            among = windows.go_on(among, alike, side, ahead)
            queries = queries[len(alike) :]

    def _alike(self, queries: range, shape: torch.Size) -> range:
        """The first queries: those until windows shrink."""
        side, until = self._side(queries.start - 2, shape), queries.start + 1
        while until in queries and self._side(until - 2, shape) == side:
            until += 1
        return range(queries.start, until)

    def _side(self, step: int, shape: torch.Size) -> int:
        """Length of the window, from its share of the image's area at this step."""
        scaled = step / self.queries * 10_000
        share = self.share / 2 ** sum(scaled > limit for limit in _HALVINGS)
        return max(1, round(math.sqrt(share * shape[2] * shape[3])))

    def label(self) -> str:
        """The name with its queries, such as `square-5000`."""
        return f"{self.name}-{self.queries}"
