"""Random search around the point at which another attack ended."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.losses import distance_to_success
from tempering.attacks.query_oracle import QueryOracle, check_queries
from tempering.attacks.random_search import RandomSearch
from tempering.attacks.square_search import SquareSearch
from tempering.attacks.steps import check_positive
from tempering.attacks.wrapper import AttackWrapper
from tempering.core.errors import UsageError
from tempering.core.probe import Probe

_LARGEST_WINDOW = 5
"""Side of the first window, in pixels; it shrinks to 1."""
_PROGRESS = 0.02
"""Relative reduction of the distance to success below which a search is given up halfway."""


@dataclass(frozen=True)
class LocalSearch(AttackWrapper):
    """An attack, followed by random search with small windows around its result.

    Random search finds better points nearby where gradients are uninformative, as they are
    after training with single-step attacks. The window changes are those of the square
    attack (Andriushchenko, Croce, Flammarion and Hein, 2020).

    Attributes:
        attack: The inner attack.
        queries: Forward passes of a search per sample, at most.
        extra_restarts: Further searches of a sample as long as they make progress.
        margin_threshold: Distance to success, in units of the DLR loss, below which a sample
            is searched; half of it for the second search, a quarter for the third, and so on.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    name: ClassVar[str] = "local-search"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    any_threat: ClassVar[bool] = False
    source: ClassVar[str] = "Tempering, after Andriushchenko et al., 2020"
    cost: ClassVar[str] = "that of its attack, and (1 + extra_restarts) x queries x forward"

    queries: int = 200
    extra_restarts: int = 2
    margin_threshold: float = 0.3
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_queries(self.name, self.queries)
        check_positive(self.name, "margin_threshold", self.margin_threshold)
        if self.extra_restarts < 0:
            raise UsageError(
                f"local-search: extra_restarts = {self.extra_restarts}: give 0 or more"
            )

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The point of the largest margin found, or the first that succeeded."""
        return self.search(probe, problem, self.attack.propose(probe, problem))

    def search(self, probe: Probe, problem: Problem, points: Tensor) -> Tensor:
        """The search without the inner attack.

        Args:
            probe: The model.
            problem: Samples, threat and goal.
            points: Initial points, shape of the problem's x; changed in place.
        """
        oracle = QueryOracle(probe, problem, (1 + self.extra_restarts) * self.queries)
        search = RandomSearch(oracle, points, self.until_fooled)
        windows = SquareSearch(search, problem, "refine")
        rows = search.active()
        for restart in range(1 + self.extra_restarts):
            rows = search.active(rows)
            distance = distance_to_success(probe, problem, search.best, rows)
            rows = rows[distance < self.margin_threshold / 2**restart]
            rows = self._run(windows, rows, restart * self.queries)
        return search.best

    def _run(self, windows: SquareSearch, rows: Tensor, first: int) -> Tensor:
        """One search; the samples whose margin has improved enough to go on."""
        search, half = windows.points, self.queries // 2
        before = search.margin.clone()
        for (side, _), block in groupby(
            range(1, self.queries), lambda query: (self._side(query), query >= half)
        ):
            numbers = list(block)
            if numbers[0] == half:
                rows = rows[search.margin[rows] > (1 - _PROGRESS) * before[rows]]
            rows = windows.run(rows, range(first + numbers[0], first + numbers[-1] + 1), side)
        return rows

    def _side(self, query: int) -> int:
        """Side of the windows at a query."""
        side: float = _LARGEST_WINDOW ** (1 - query / self.queries)
        return round(side)

    def effort(self) -> int:
        """Effort of the inner attack, and the queries."""
        return self.attack.effort() + self.queries

    def settings(self) -> dict[str, Any]:
        """The settings of the search."""
        return {
            "queries": self.queries,
            "extra_restarts": self.extra_restarts,
            "margin_threshold": self.margin_threshold,
            "until_fooled": self.until_fooled,
        }

    def label(self) -> str:
        """Such as `apgd-t-50+local-search-300`."""
        return f"{super().label()}-{self.queries}"
