"""Further attempts at samples that an attack left close to success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.apgd import ascend, untargeted
from tempering.attacks.apgd_t import APGDT
from tempering.attacks.base import Problem
from tempering.attacks.local_search import LocalSearch, distance_to_success
from tempering.attacks.square import Square
from tempering.attacks.steps import check_count, check_positive
from tempering.attacks.wrapper import AttackWrapper
from tempering.core.errors import UsageError
from tempering.core.probe import Probe
from tempering.core.threats import Threat

Attempt = Callable[[Problem, Tensor], Tensor]
"""From samples and their best points so far to new points."""

_CHECKS = 4
"""Parts of a square search; after each, samples that are too far from success are given up."""


@dataclass(frozen=True)
class RetrySettings:
    """How much is tried. Distances to success are in units of the DLR loss.

    Attributes:
        steps: Gradient steps of each ascent, at least 1.
        margin: Distance to success below which a sample gets ascents from random points. Below
            twice of it an ascent continues from the best point; below half of it the local
            search is repeated. An ascent that is farther away after half of its steps ends.
        targets: Most likely targets that get an ascent each, at least 1.
        square_margin: Distance to success below which a sample gets a square search; it falls
            linearly to 0 with the queries made.
        square_queries: Queries of the square search at most, at least 4.

    Raises:
        UsageError: If a value is out of range.
    """

    steps: int = 50
    margin: float = 0.1
    targets: int = 3
    square_margin: float = 0.6
    square_queries: int = 1000

    def __post_init__(self) -> None:
        for count in ("steps", "targets", "square_queries"):
            check_count("retry", count, getattr(self, count))
        for margin in ("margin", "square_margin"):
            check_positive("retry", margin, getattr(self, margin))
        if self.square_queries < _CHECKS:
            raise UsageError(
                f"retry: square_queries = {self.square_queries}: give at least {_CHECKS}"
            )


@dataclass(frozen=True)
class HardSampleRetry(AttackWrapper):
    """An attack, and further attempts at samples that it left close to success.

    The result of an ascent depends on its initial point. So the remaining samples close to
    success get, in this order: an ascent from the best point and another local search;
    ascents from random points on cross-entropy, on the DLR loss and to the most likely
    targets; a square search from its initial stripes, followed by an ascent from its end;
    and the first two once more.

    Attributes:
        attack: The inner attack.
        retry: How much is tried.
    """

    name: ClassVar[str] = "hard-sample-retry"
    norms: ClassVar[tuple[str, ...]] = LocalSearch.norms
    source: ClassVar[str] = "Tempering, after Croce and Hein, 2020, and Andriushchenko et al., 2020"
    cost: ClassVar[str] = (
        "that of its attack; for samples close to success (targets + 5) x steps x (forward + "
        "backward), two local searches, and square_queries x forward"
    )

    attack: LocalSearch
    retry: RetrySettings = RetrySettings()

    def require(self, threat: Threat) -> None:
        """Refuse a threat in which the inner attack does not work.

        Raises:
            ThreatError: Naming the norms in which it does.
        """
        self.attack.require(threat)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The inner attack's points, or points closer to success from further attempts."""
        retry, margin = self.retry, self.retry.margin
        best = _BestPoints(probe, problem, self.attack.propose(probe, problem))
        targeted = APGDT(
            retry.steps,
            targets=retry.targets,
            top_targets=None,
            extra_restarts=0,
            margin_threshold=margin,
        )
        self._from_best(best, probe)
        best.improve(margin, lambda part, _: self._ascend(probe, part, "cross-entropy"))
        best.improve(margin, lambda part, _: self._ascend(probe, part, "ratio"))
        best.improve(margin, lambda part, _: targeted.propose(probe, part))
        best.improve(retry.square_margin, lambda part, _: self._square(probe, part))
        self._from_best(best, probe)
        return best.points

    def _ascend(
        self, probe: Probe, problem: Problem, loss: str = "ratio", points: Tensor | None = None
    ) -> Tensor:
        return ascend(
            probe,
            problem,
            untargeted(loss),
            self.retry.steps,
            points=points,
            margin_threshold=self.retry.margin,
        ).points

    def _from_best(self, best: _BestPoints, probe: Probe) -> None:
        """An ascent and a local search from the best points."""
        margin = self.retry.margin
        best.improve(2 * margin, lambda part, points: self._ascend(probe, part, points=points))
        best.improve(margin / 2, lambda part, points: self.attack.search(probe, part, points))

    def _square(self, probe: Probe, problem: Problem) -> Tensor:
        """A square search, and an ascent from where it ends close to success."""
        retry = self.retry
        square = Square(retry.square_queries)
        search = square.begin(probe, problem)
        rows, part = search.points.active(), retry.square_queries // _CHECKS
        for number in range(_CHECKS):
            rows = square.run(search, rows, range(max(1, number * part), (number + 1) * part))
            distance = distance_to_success(probe, problem, search.points.best, rows)
            rows = rows[distance < retry.square_margin * (1 - (number + 1) / _CHECKS)]
        best = _BestPoints(probe, problem, search.points.best)
        best.improve(
            2 * retry.margin, lambda part, points: self._ascend(probe, part, points=points)
        )
        return best.points

    def effort(self) -> int:
        """Effort of the inner attack, and of the ascents."""
        return self.attack.effort() + (self.retry.targets + 5) * self.retry.steps

    def settings(self) -> dict[str, Any]:
        """The retry settings."""
        return asdict(self.retry)


class _BestPoints:
    """The points closest to success so far.

    Attributes:
        points: Shape (n, c, h, w).
    """

    def __init__(self, probe: Probe, problem: Problem, points: Tensor) -> None:
        self._probe, self._problem, self.points = probe, problem, points.contiguous()
        rows = torch.arange(len(points), device=points.device)
        self._distance = distance_to_success(probe, problem, self.points, rows)
        self._attempts = 0

    def improve(self, margin: float, attempt: Attempt) -> None:
        """Attempt robust samples within a distance to success; keep points that are closer.

        Args:
            margin: Distance to success below which a sample is attempted.
            attempt: Makes new points.
        """
        self._attempts += 1
        rows = ((self._distance >= 0) & (self._distance < margin)).nonzero()[:, 0]
        if not len(rows):
            return
        part = self._problem.part(rows)
        part = replace(part, streams=part.streams.derive("attempt", self._attempts))
        points = attempt(part, self.points[rows])
        own = torch.arange(len(rows), device=rows.device)
        distance = distance_to_success(self._probe, part, points, own)
        closer = distance < self._distance[rows]
        self.points[rows[closer]] = points[closer]
        self._distance[rows[closer]] = distance[closer]
