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
from tempering.attacks.wrapping import Wrapping
from tempering.core.probe import Probe
from tempering.core.threats import Threat

_WIDEST = 5
"""Side of the first window, in pixels; it shrinks to one."""
_FAR = 0.3
"""How little loss short of success, whatever the logits' scale, a sample has to be after a quarter
of the first search to be searched to the end."""
_NEAR, _NEARER = 0.13, 0.8
"""How little loss short of success is worth a second search, and the factor by which it has to be
less before each search after that."""


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
        encores: How many searches more a sample gets at most, if what was found is near
            success.
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
        oracle = Oracle(probe, problem, (1 + self.encores) * self.queries)
        ends = self.attack.propose(probe, problem)
        search = RandomSearch(oracle, ends, self.until_fooled)
        for number in range(1 + self.encores):
            rows = search.standing()
            if number:
                rows = _near(probe, problem, search.best, rows, _NEAR * _NEARER ** (number - 1))
            self._go_on(search, probe, problem, rows, number)
        return search.best

    def _go_on(
        self, search: RandomSearch, probe: Probe, problem: Problem, rows: Tensor, number: int
    ) -> None:
        """One search for some samples; the first goes on only where it comes near."""
        moves = MOVES[problem.threat.name](problem.threat.eps)
        for query in range(1, self.queries):
            rows = search.standing(rows)
            if number == 0 and query == self.queries // 4:
                rows = _near(probe, problem, search.best, rows, _FAR)
            if not len(rows):
                break
            draws = problem.draws[rows].to("refine", number * self.queries + query)
            side = round(_WIDEST ** (1 - query / self.queries))
            search.ask(rows, moves.step(problem.x[rows], search.best[rows], draws, side))

    def effort(self) -> int:
        """The inner attack's, and the search's."""
        return self.attack.effort() + self.queries

    def settings(self) -> dict[str, Any]:
        """How far it searches."""
        return {"queries": self.queries, "encores": self.encores, "until_fooled": self.until_fooled}

    def label(self) -> str:
        """Such as `apgd-t-50+refined-300`."""
        return f"{super().label()}-{self.queries}"


def _near(probe: Probe, problem: Problem, points: Tensor, rows: Tensor, short: float) -> Tensor:
    """Of some samples, those whose points are less than so much short of success, by number."""
    losses = [points.new_zeros(0)]
    for part in torch.split(rows, problem.batch_size) if len(rows) else ():
        logits = probe.logits(points[part], problem.draws.index[part])
        losses.append(ratio(logits, problem.protected(logits, part)))
    return rows[torch.cat(losses) > -short]
