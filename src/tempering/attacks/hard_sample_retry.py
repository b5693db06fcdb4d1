"""Further attempts at samples that an attack left close to success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.apgd import APGDCE, APGDDLR, ascend, untargeted
from tempering.attacks.apgd_t import APGDT
from tempering.attacks.base import Attack, Problem
from tempering.attacks.losses import distance_to_success
from tempering.attacks.square import Square
from tempering.attacks.steps import check_count, check_positive
from tempering.attacks.wrapper import AttackWrapper
from tempering.core.errors import UsageError
from tempering.core.probe import Probe

Attempt = Callable[[Problem, Tensor], Tensor]
"""From samples and their best points so far to new points."""

_CHECKS = 4
"""Parts of a square search; after each, samples that are too far from success are given up."""


@dataclass(frozen=True)
class RetrySettings:
    """How much is tried. Distances to success are in units of the DLR loss.

    Attributes:
        steps: Gradient steps of each ascent, at least 1.
        margin: Distance to success below which a sample gets ascents from random points, and
            twice of it for an ascent from its best point.
        targets: Number of the most likely targets that get an ascent each, at least 1.
        square_margin: Distance to success below which a sample gets a square search; it falls
            linearly to 0 as queries are made.
        square_queries: Queries of the square search at most, at least 4.

    Raises:
        UsageError: If a value is out of range.
    """

    steps: int = 100
    margin: float = 0.1
    targets: int = 3
    square_margin: float = 0.5
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
    success get, in this order: an ascent from the best point; ascents from random points on
    cross-entropy, on the DLR loss and to the most likely targets; and a square search from
    its initial stripes, followed by an ascent from its end.

    Attributes:
        attack: The inner attack.
        retry: How much is tried.
    """

    name: ClassVar[str] = "hard-sample-retry"
    norms: ClassVar[tuple[str, ...]] = Square.norms
    any_threat: ClassVar[bool] = False
    source: ClassVar[str] = "Tempering, after Croce and Hein, 2020, and Andriushchenko et al., 2020"
    cost: ClassVar[str] = (
        "that of its attack; for samples close to success (targets + 4) x steps x (forward + "
        "backward) and square_queries x forward"
    )

    retry: RetrySettings = RetrySettings()

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The inner attack's points, or points closer to success from further attempts."""
        retry = self.retry
        targeted = APGDT(retry.steps, targets=retry.targets, top_targets=None, extra_restarts=0)
        best = _BestPoints(probe, problem, self.attack.propose(probe, problem))
        self._ascend_from_best(best, probe)
        for attack in (APGDCE(retry.steps), APGDDLR(retry.steps), targeted):
            best.improve(retry.margin, partial(_propose, attack, probe))
        best.improve(retry.square_margin, lambda part, _: self._square(probe, part))
        return best.points

    def _ascend_from_best(self, best: _BestPoints, probe: Probe) -> None:
        """An ascent of the DLR loss from the best point."""
        steps, loss = self.retry.steps, untargeted("ratio")
        best.improve(
            2 * self.retry.margin,
            lambda part, points: ascend(probe, part, loss, steps, points=points).points,
        )

    def _square(self, probe: Probe, problem: Problem) -> Tensor:
        """A square search, and an ascent from where it ends close to success."""
        retry = self.retry
        square = Square(retry.square_queries)
        search = square.begin(probe, problem)
        rows, part = search.points.active(), retry.square_queries // _CHECKS
        for number in range(1, _CHECKS + 1):
            rows = square.run(search, rows, range(max(1, (number - 1) * part), number * part))
            distance = distance_to_success(probe, problem, search.points.best, rows)
            rows = rows[distance < retry.square_margin * (1 - number / _CHECKS)]
        best = _BestPoints(probe, problem, search.points.best)
        self._ascend_from_best(best, probe)
        return best.points

    def effort(self) -> int:
        """Effort of the inner attack, and of the ascents."""
        return self.attack.effort() + (self.retry.targets + 4) * self.retry.steps

    def settings(self) -> dict[str, Any]:
        """The retry settings."""
        return asdict(self.retry)


def _propose(attack: Attack, probe: Probe, problem: Problem, _: Tensor) -> Tensor:
    return attack.propose(probe, problem)


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
