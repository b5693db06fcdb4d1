"""More of everything for samples that an attack nearly fooled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.apgd_ce import APGDCE
from tempering.attacks.apgd_dlr import APGDDLR
from tempering.attacks.apgd_t import APGDT
from tempering.attacks.base import Problem
from tempering.attacks.local_search import LocalSearch, margin_gap
from tempering.attacks.losses import ratio
from tempering.attacks.square import Square
from tempering.attacks.steps import check_count
from tempering.attacks.wrapping import Wrapping
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat

_ONWARDS, _SEARCH = 0.2, 0.05
"""How little loss short of success, whatever the logits' scale, is worth a climb onwards, and
searches around the best point."""
_NEAR, _NEARER = 0.1, (0.05, 0.02)
"""The same for climbs from elsewhere, and for more of them to the targets that trials find best."""
_STRIPES, _AGAIN = 0.6, 0.05
"""The same for a search from stripes, and for a climb onwards and searches once more at the end."""
_TARGETS = 3
"""How many likeliest targets have climbs from elsewhere, after two that go to no target."""
_QUERIES = 1200
"""Queries of a search from stripes."""
_LOOKS = ((50, 0.8, 1), (100, 0.7, 1), (200, 0.42, 4), (400, 0.28, 4), (600, 0.2, 8))
"""After how many of them it is looked at, how near it has to have come by then to go on, and how
many it then asks at once, since fewer samples are left."""
_ENDS, _TRIAL, _GOOD = 0.3, 10, 0.1
"""How near such a search has to end for a climb, after how many steps the climb is looked at, and
how near it has to have come by then to go on."""
_CLIMBS, _CLIMBS_ON = 0.15, 0.1
"""How near climbs from elsewhere have to come to go on, and climbs onwards."""
_AHEAD = 4
"""Queries that are asked at once; few samples are near misses."""

Attempt = Callable[[Problem, Tensor], Tensor]
"""From samples and their best points so far to other points."""


@dataclass(frozen=True)
class HardSampleRetry(Wrapping):
    """An attack, and then more attempts at samples that it left short of success by little.

    Attacks stop at a point that is good where they are, and which one that is depends on
    the start. So near misses get a climb onwards from the best point and searches around
    it, climbs from elsewhere, the more the nearer they are, a search from stripes with a
    climb from where it ends (stripes reach what random points and gradients do not), and
    at the end the first two once more.

    Attributes:
        attack: Goes first.
        climbs: How many climbs from elsewhere the nearest get besides, and the very nearest
            once more.
        steps: Gradient steps of each climb.
    """

    name: ClassVar[str] = "hard-sample-retry"
    norms: ClassVar[tuple[str, ...]] = LocalSearch.norms
    source: ClassVar[str] = "Tempering, after Croce and Hein, 2020, and Andriushchenko et al., 2020"
    cost: ClassVar[str] = "the attack's, and up to (2.6 climbs + 8.2) x steps for near misses"

    attack: LocalSearch
    climbs: int = 3
    steps: int = 50

    def __post_init__(self) -> None:
        check_count(self.name, "climbs", self.climbs)
        check_count(self.name, "steps", self.steps)

    def require(self, threat: Threat) -> None:
        """Refuse a threat whose norm the attack does not know.

        Raises:
            ThreatError: Naming the norms that are known.
        """
        self.attack.require(threat)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The attack's points, or those nearer to success that further attempts found."""
        left = _Left(probe, problem, self.attack.propose(probe, problem))
        anywhere, by_entropy = _Climb(self.steps, near=_CLIMBS), APGDCE(self.steps)
        each = APGDT(self.steps, targets=_TARGETS, top_targets=None, extra_restarts=0, near=_CLIMBS)
        likeliest = replace(each, top_targets=1)
        self._from_best(left, probe, _ONWARDS, _SEARCH)
        left.improve(_NEAR, lambda part, _: by_entropy.propose(probe, part))
        left.improve(_NEAR, lambda part, _: anywhere(probe, part))
        left.improve(_NEAR, lambda part, _: each.propose(probe, part))
        for near in _NEARER:
            left.improve(near, lambda part, _: likeliest.propose(probe, part), self.climbs)
        left.improve(_STRIPES, lambda part, _: self._from_stripes(probe, part))
        self._from_best(left, probe, _AGAIN, _AGAIN)
        return left.points

    def _from_best(self, left: _Left, probe: Probe, onwards: float, search: float) -> None:
        climb = _Climb(self.steps, near=_CLIMBS_ON)
        left.improve(onwards, lambda part, best: climb(probe, part, best))
        left.improve(search, lambda part, best: self.attack.search(probe, part, best, _AHEAD))

    def _from_stripes(self, probe: Probe, problem: Problem) -> Tensor:
        """A search from stripes and a climb from its end, each as long as it comes near."""
        square = Square(_QUERIES)
        search = square.begin(probe, problem)
        rows, query, ahead = search.standing(), 1, 1
        for look, hopeful, next_ahead in _LOOKS:
            square.go_on(search, problem, range(query, look), rows, ahead)
            rows, query, ahead = search.standing(rows), look, next_ahead
            rows = rows[margin_gap(probe, problem, search.best, rows) < hopeful]
        square.go_on(search, problem, range(query, _QUERIES), rows, ahead)
        left = _Left(probe, problem, search.best)
        result, climb = _Climb(_TRIAL), _Climb(self.steps, near=_CLIMBS_ON)
        left.improve(_ENDS, lambda part, best: result(probe, part, best))
        left.improve(_GOOD, lambda part, best: climb(probe, part, best))
        return left.points

    def effort(self) -> int:
        """The inner attack's, and the climbs'."""
        return self.attack.effort() + self.climbs * self.steps

    def settings(self) -> dict[str, Any]:
        """How much it tries."""
        return {"climbs": self.climbs, "steps": self.steps}


class _Left:
    """Samples, and the points nearest to success that are known of them.

    Attributes:
        points: Shape (n, c, h, w).
    """

    def __init__(self, probe: Probe, problem: Problem, points: Tensor) -> None:
        self._probe, self._problem, self.points = probe, problem, points.contiguous()
        everyone = torch.arange(len(points), device=points.device)
        self._short = margin_gap(probe, problem, self.points, everyone)
        self._attempts = 0

    def improve(self, near: float, attempt: Attempt, times: int = 1) -> None:
        """Attempt samples that are short of success by less than this; keep what is nearer.

        Args:
            near: How little loss short of success is worth it.
            attempt: What is tried.
            times: How often, each from another start, side by side to fill a batch.
        """
        self._attempts += 1
        rows = ((self._short >= 0) & (self._short < near)).nonzero()[:, 0]
        if not len(rows):
            return
        for turns in torch.split(torch.arange(times), 1 if self._probe.stateful else times):
            self._attempt(rows, attempt, turns.tolist())

    def _attempt(self, rows: Tensor, attempt: Attempt, turns: list[int]) -> None:
        streams = [
            self._problem.streams[rows].derive("attempt", self._attempts, turn) for turn in turns
        ]
        again = rows.repeat(len(turns))
        part = replace(self._problem.part(again), streams=RandomStreams.side_by_side(streams))
        found = attempt(part, self.points[again])
        everyone = torch.arange(len(again), device=rows.device)
        short = margin_gap(self._probe, part, found, everyone).view(-1, len(rows))
        least, turn = short.min(0)
        nearer = least < self._short[rows]
        nearest = turn * len(rows) + everyone[: len(rows)]
        self.points[rows[nearer]], self._short[rows[nearer]] = found[nearest][nearer], least[nearer]


@dataclass(frozen=True)
class _Climb:
    """A climb of the difference of logits ratio.

    Attributes:
        steps: Gradient steps.
        near: How near it has to come to go on; None to go on in any case.
    """

    steps: int
    near: float | None = None

    def __call__(self, probe: Probe, problem: Problem, points: Tensor | None = None) -> Tensor:
        """Where climbs end that go on from points, or begin anywhere; shape of the problem's x."""
        climbing = APGDDLR(self.steps)

        def loss(logits: Tensor, keep: Tensor, _: Tensor) -> Tensor:
            return ratio(logits, keep)

        return climbing.climb(probe, problem, loss, points=points, near=self.near).points
