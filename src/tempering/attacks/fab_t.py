"""FAB-T: walks along the boundary to each of the likeliest other classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.boundary_walk import BoundaryWalk
from tempering.attacks.fab import BISECTIONS
from tempering.attacks.nearest import Nearest, NearestAttack, tighten
from tempering.attacks.steps import check_count
from tempering.attacks.targets import check_top_targets, shortlist, survey, trial_steps
from tempering.core.probe import Probe


@dataclass(frozen=True)
class FABT(NearestAttack):
    """FAB along one boundary at a time: a step costs one backward pass, whatever the classes.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020, section 5.

    Attributes:
        steps: Linearisations a sample and target.
        targets: How many of the likeliest outputs are tried.
        top_targets: How many of them get all steps, after a trial of a tenth of the steps
            for each; None for all of them and no trial, as the paper has it.
        until_fooled: Whether a sample leaves once it is fooled within eps; otherwise all
            targets and steps go into the nearest point.
    """

    name: ClassVar[str] = "fab-t"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = (
        "(targets / 10 + top_targets) x steps x (forward + backward), and a forward a walk"
    )

    steps: int = 100
    targets: int = 9
    top_targets: int | None = 3
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_count(self.name, "targets", self.targets)
        check_top_targets(self.name, self.top_targets)

    def search(self, probe: Probe, problem: Problem) -> Tensor:
        """Walk to the best targets with samples that stand; bisect if the nearest is wanted."""
        nearest = Nearest.start(problem.x)
        fooled, targets = survey(probe, problem, self.targets)
        nearest.distance.masked_fill_(fooled, 0.0)
        if self.top_targets is not None and self.top_targets < targets.shape[1]:
            score = self._trial(probe, problem, targets, nearest)
            targets = shortlist(targets, score, self.top_targets)
        walk = BoundaryWalk(self.steps, 1, self.until_fooled)
        for target in targets.unbind(1):
            walk.run(probe, problem, self._standing(problem, nearest), nearest, target=target)
        if not self.until_fooled:
            tighten(probe, problem, nearest, BISECTIONS)
        return nearest.x_adv

    def _trial(self, probe: Probe, problem: Problem, targets: Tensor, nearest: Nearest) -> Tensor:
        """A short walk to each target: how near each came, shape of targets, negative."""
        score = problem.x.new_full(targets.shape, -torch.inf)
        walk = BoundaryWalk(trial_steps(self.steps), 1, self.until_fooled)
        for number, target in enumerate(targets.unbind(1)):
            rows, found = self._standing(problem, nearest), Nearest.start(problem.x)
            walk.run(probe, problem, rows, found, target=target)
            away = found.distance[rows]
            nearest.update(rows, found.x_adv[rows], away, away.isfinite())
            score[rows, number] = -away
        return score

    def _standing(self, problem: Problem, nearest: Nearest) -> Tensor:
        bar = problem.threat.eps if self.until_fooled else 0.0
        return (nearest.distance > bar).nonzero()[:, 0]

    def label(self) -> str:
        """The name with its steps, such as `fab-t-100`."""
        return f"{self.name}-{self.steps}"
