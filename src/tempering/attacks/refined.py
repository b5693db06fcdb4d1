"""Random search around the point where an attack ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle, check_queries
from tempering.attacks.base import Problem
from tempering.attacks.losses import ratio
from tempering.attacks.square_moves import MOVES
from tempering.attacks.wrapping import Wrapping
from tempering.core.probe import Probe
from tempering.core.threats import Threat

_WIDEST = 5
"""Side of the first window, in pixels; it shrinks to one."""
_NEAR = 0.15
"""How little loss short of success, whatever the logits' scale, is worth another search."""


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
    encores: int = 8
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
        best = self.attack.propose(probe, problem)
        oracle = Oracle(probe, problem, (1 + self.encores) * self.queries)
        search = _Search(self, oracle, problem, best)
        for number in range(1 + self.encores):
            rows = search.standing() if number == 0 else search.near(probe)
            search.go_on(rows, number)
        return best

    def effort(self) -> int:
        """The inner attack's, and the search's."""
        return self.attack.effort() + self.queries

    def settings(self) -> dict[str, Any]:
        """How far it searches."""
        return {"queries": self.queries, "encores": self.encores, "until_fooled": self.until_fooled}

    def label(self) -> str:
        """Such as `apgd-t-50+refined-300`."""
        return f"{super().label()}-{self.queries}"


class _Search:
    """Points that are moved where that brings them nearer to success."""

    def __init__(self, attack: Refined, oracle: Oracle, problem: Problem, best: Tensor) -> None:
        self.attack, self.oracle, self.problem, self.best = attack, oracle, problem, best
        self.moves = MOVES[problem.threat.name](problem.threat.eps)
        self.gap, self.fooled = oracle.margins(best, torch.arange(len(best), device=best.device))

    def standing(self) -> Tensor:
        """Samples to work on, by number."""
        on = ~self.fooled if self.attack.until_fooled else torch.ones_like(self.fooled)
        return on.nonzero()[:, 0]

    def near(self, probe: Probe) -> Tensor:
        """Of these, the ones that are near success."""
        rows = self.standing()
        if not len(rows):
            return rows
        losses = []
        for part in torch.split(rows, self.problem.batch_size):
            logits = probe.logits(self.best[part], self.problem.draws.index[part])
            losses.append(ratio(logits, self.problem.protected(logits, part)))
        return rows[torch.cat(losses) > -_NEAR]

    def go_on(self, rows: Tensor, number: int) -> None:
        """One search."""
        problem, queries = self.problem, self.attack.queries
        for query in range(1, queries):
            if self.attack.until_fooled:
                rows = rows[~self.fooled[rows]]
            if not len(rows):
                break
            draws = problem.draws[rows].to("refine", number * queries + query)
            side = round(_WIDEST ** (1 - query / queries))
            tried = self.moves.step(problem.x[rows], self.best[rows], draws, side)
            here, won = self.oracle.margins(tried, rows)
            better = (here > self.gap[rows]) | won & ~self.fooled[rows]
            changed = rows[better]
            self.best[changed], self.gap[changed] = tried[better], here[better]
            self.fooled[rows] |= won
