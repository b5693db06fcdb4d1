"""Random search around the point where an attack ended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle, check_queries
from tempering.attacks.base import Problem
from tempering.attacks.losses import ratio
from tempering.attacks.random_search import RandomSearch
from tempering.attacks.square_moves import MOVES
from tempering.attacks.wrapping import Wrapping
from tempering.core.probe import Probe
from tempering.core.threats import Threat

_WIDEST = 5
"""Side of the first window, in pixels; it shrinks to one."""
_FAR, _NEAR, _NEARER = 0.3, 0.13, 0.8
"""How little loss short of success, whatever the logits' scale, is worth going on: after a quarter
of the first search; there without progress, and for a second search; and the factor by which it has
to be less before each search after that."""
_PROGRESS = 0.02
"""By what share a search has to have narrowed the gap to success to be worth going on."""
_TOGETHER = 32
"""Queries that are asked together, where fewer samples than these are left."""


@dataclass(frozen=True)
class Refined(Wrapping):
    """An attack, and then random search of small windows from the points that it ended at.

    Where gradients stop short of better points that are near, as they do after training
    with a single step, random search finds them; from a gradient's end it takes a
    fraction of the queries that it takes from stripes. The moves are those of the square
    attack (Andriushchenko, Croce, Flammarion and Hein, 2020), the rest is ours.

    Attributes:
        attack: Goes first.
        queries: Forward passes of a search for a sample, at most.
        encores: How many searches more a sample gets at most, as long as they lead it nearer
            to success, and it is near.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    name: ClassVar[str] = "refined"
    norms: ClassVar[tuple[str, ...]] = tuple(MOVES)
    source: ClassVar[str] = "Tempering, after Andriushchenko et al., 2020"
    cost: ClassVar[str] = "the attack's, and up to queries x forward"

    queries: int = 300
    encores: int = 6
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

    def search(self, probe: Probe, problem: Problem, ends: Tensor) -> Tensor:
        """Searches alone, from points where something ended, shape of the problem's x."""
        oracle = Oracle(probe, problem, (1 + self.encores) * self.queries)
        search = RandomSearch(oracle, ends, self.until_fooled)
        rows = search.standing()
        for number in range(1 + self.encores):
            if number:
                near = _NEAR * _NEARER ** (number - 1)
                rows = search.standing(rows)
                rows = rows[short_of_success(probe, problem, search.best, rows) < near]
            rows = self._go_on(search, probe, problem, rows, number)
        return search.best

    def _go_on(
        self, search: RandomSearch, probe: Probe, problem: Problem, rows: Tensor, number: int
    ) -> Tensor:
        """One search for some samples; those that it has led nearer, by number."""
        moves = MOVES[problem.threat.name](problem.threat.eps)
        before = search.gap.clone()
        query = 1
        while query < self.queries:
            rows = search.standing(rows)
            if number == 0 and query == self.queries // 4:
                short = short_of_success(probe, problem, search.best, rows)
                nearer = search.nearer(rows, before, _PROGRESS)
                rows = rows[(short < _NEAR) | (short < _FAR) & nearer]
            if query == self.queries // 2:
                rows = rows[search.nearer(rows, before, _PROGRESS)]
            if not len(rows):
                break
            side = self._side(query)
            together = 1 if probe.remembers else math.ceil(_TOGETHER / len(rows))
            until = self._turn(query, query + together)

            def move(asked: Tensor, queries: Tensor, side: int = side) -> Tensor:
                draws = problem.draws[asked].each("refine", number * self.queries + queries)
                return moves.step(problem.x[asked], search.best[asked], draws, side)

            search.ask_ahead(rows, range(query, until), move)
            query = until
        return rows

    def _side(self, query: int) -> int:
        """Side of the windows at a query."""
        side: float = _WIDEST ** (1 - query / self.queries)
        return round(side)

    def _turn(self, query: int, at_most: int) -> int:
        """Up to which query nothing changes but the draws."""
        until = query + 1
        looks = (self.queries // 4, self.queries // 2, self.queries)
        while until < at_most and until not in looks and self._side(until) == self._side(query):
            until += 1
        return until

    def effort(self) -> int:
        """The inner attack's, and the search's."""
        return self.attack.effort() + self.queries

    def settings(self) -> dict[str, Any]:
        """How far it searches."""
        return {"queries": self.queries, "encores": self.encores, "until_fooled": self.until_fooled}

    def label(self) -> str:
        """Such as `apgd-t-50+refined-300`."""
        return f"{super().label()}-{self.queries}"


def short_of_success(probe: Probe, problem: Problem, points: Tensor, rows: Tensor) -> Tensor:
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
        logits = probe.logits(points[part], problem.draws.index[part])
        losses.append(ratio(logits, problem.protected(logits, part)))
    return -torch.cat(losses)
