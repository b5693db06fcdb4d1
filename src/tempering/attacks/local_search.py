"""Random search around the point where an attack ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle, check_queries
from tempering.attacks.base import Problem
from tempering.attacks.losses import ratio
from tempering.attacks.random_search import RandomSearch
from tempering.attacks.square_moves import MOVES
from tempering.attacks.square_search import SquareSearch
from tempering.attacks.wrapping import Wrapping
from tempering.core.probe import Probe
from tempering.core.threats import Threat

_WIDEST = 5
"""Side of the first window, in pixels; it shrinks to one."""
_FARTHEST, _FAR, _NEAR, _NEARER = 0.4, 0.3, 0.13, 0.8
"""How little loss short of success, whatever the logits' scale, is worth a search; going on after
a quarter of it; there without progress, and a second search; and the factor by which it has to be
less before each search after that."""
_PROGRESS = 0.02
"""By what share a search has to have narrowed the gap to success to be worth going on."""
_AHEAD, _MOST_AHEAD = 4, 16
"""How many queries more each search asks at once than the one before, and how many at most: fewer
samples come to it. That depends on the search alone, so a sample's passes depend on no other."""


@dataclass(frozen=True)
class LocalSearch(Wrapping):
    """An attack, and then random search of small windows from the points that it ended at.

    Where gradients stop short of better points that are near, as they do after training
    with a single step, random search finds them; from a gradient's end it takes a
    fraction of the queries that it takes from stripes. The moves are those of the square
    attack (Andriushchenko, Croce, Flammarion and Hein, 2020), the rest is ours.

    Attributes:
        attack: Goes first.
        queries: Forward passes of a search for a sample, at most.
        extra_restarts: How many searches more a sample gets at most, as long as they lead it nearer
            to success, and it is near.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    name: ClassVar[str] = "local-search"
    norms: ClassVar[tuple[str, ...]] = tuple(MOVES)
    source: ClassVar[str] = "Tempering, after Andriushchenko et al., 2020"
    cost: ClassVar[str] = "the attack's, and up to queries x forward"

    queries: int = 300
    extra_restarts: int = 6
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_queries(self.name, self.queries)

    def require(self, threat: Threat) -> None:
        """Refuse a threat whose norm the attack, or the search, does not know.

        Raises:
            ThreatError: Naming the norms that are known.
        """
        super(Wrapping, self).require(threat)
        super().require(threat)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The point of the largest margin that was found, or the first that fooled."""
        return self.search(probe, problem, self.attack.propose(probe, problem))

    def search(self, probe: Probe, problem: Problem, ends: Tensor, ahead: int = 1) -> Tensor:
        """Searches alone.

        Args:
            probe: The model.
            problem: Samples, threat and goal.
            ends: Where something ended, shape of the problem's x.
            ahead: How many queries the first search asks at once.
        """
        around = _Around(self, probe, problem, ends)
        rows = around.points.standing()
        for number in range(1 + self.extra_restarts):
            if number:
                rows = around.points.standing(rows)
                rows = rows[around.short(rows) < _NEAR * _NEARER ** (number - 1)]
            rows = around.go_on(rows, number, min(ahead + number * _AHEAD, _MOST_AHEAD))
        return around.points.best

    def effort(self) -> int:
        """The inner attack's, and the search's."""
        return self.attack.effort() + self.queries

    def settings(self) -> dict[str, Any]:
        """How far it searches."""
        return {
            "queries": self.queries,
            "extra_restarts": self.extra_restarts,
            "until_fooled": self.until_fooled,
        }

    def label(self) -> str:
        """Such as `apgd-t-50+local_search-300`."""
        return f"{super().label()}-{self.queries}"


class _Around:
    """Searches around points where something ended."""

    def __init__(self, attack: LocalSearch, probe: Probe, problem: Problem, ends: Tensor) -> None:
        self.attack, self.probe, self.problem = attack, probe, problem
        oracle = Oracle(probe, problem, (1 + attack.extra_restarts) * attack.queries)
        self.points = RandomSearch(oracle, ends, attack.until_fooled)
        self.windows = SquareSearch(self.points, problem, "refine")

    def short(self, rows: Tensor) -> Tensor:
        """How little loss the best points of some samples are short of success."""
        return margin_gap(self.probe, self.problem, self.points.best, rows)

    def go_on(self, rows: Tensor, number: int, ahead: int) -> Tensor:
        """One search for some samples; those that it has led nearer, by number.

        Args:
            rows: Samples, shape (m,), int64.
            number: Which search it is, from 0.
            ahead: How many queries to ask at once.
        """
        before, first = self.points.gap.clone(), number * self.attack.queries
        queries = range(1, self.attack.queries)
        while queries:
            rows = self.points.standing(rows)
            rows = self._worth_it(rows, before, number, queries.start)
            if not len(rows):
                break
            alike = self._alike(queries)
            of_all = range(first + alike.start, first + alike.stop)
            rows = self.windows.go_on(rows, of_all, self._side(alike.start), ahead)
            queries = queries[len(alike) :]
        return rows

    def _worth_it(self, rows: Tensor, before: Tensor, number: int, query: int) -> Tensor:
        """Samples that a search goes on with, by number."""
        if number == 0 and query == 1:
            rows = rows[self.short(rows) < _FARTHEST]
        if number == 0 and query == self.attack.queries // 4:
            short, nearer = self.short(rows), self.points.nearer(rows, before, _PROGRESS)
            rows = rows[(short < _NEAR) | (short < _FAR) & nearer]
        if query == self.attack.queries // 2:
            rows = rows[self.points.nearer(rows, before, _PROGRESS)]
        return rows

    def _side(self, query: int) -> int:
        """Side of the windows at a query."""
        side: float = _WIDEST ** (1 - query / self.attack.queries)
        return round(side)

    def _alike(self, queries: range) -> range:
        """The first queries: those until a look, or until windows shrink."""
        looks, side = (self.attack.queries // 4, self.attack.queries // 2), self._side(queries[0])
        until = queries.start + 1
        while until in queries and until not in looks and self._side(until) == side:
            until += 1
        return range(queries.start, until)


def margin_gap(probe: Probe, problem: Problem, points: Tensor, rows: Tensor) -> Tensor:
    """How little loss points are short of success, whatever the logits' scale.

    Args:
        probe: The model.
        problem: Samples and goal.
        points: One a sample, shape (n, c, h, w).
        rows: Samples to look at, shape (m,), int64; a forward pass each.

    Returns:
        Shape (m,); below 0 where they succeed.
    """
    losses = [points.new_zeros(0)]
    for part in torch.split(rows, problem.batch_size) if len(rows) else ():
        logits = probe.logits(points[part], problem.streams.index[part])
        losses.append(ratio(logits, problem.protected(logits, part)))
    return -torch.cat(losses)
