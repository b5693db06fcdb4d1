"""FAB-T: FAB towards each of the most likely other classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.fab import BISECTIONS
from tempering.attacks.fab_walk import FABWalk
from tempering.attacks.nearest import Nearest, NearestAttack, tighten
from tempering.attacks.steps import check_count
from tempering.attacks.targets import best_targets, check_top_targets, rank_targets, trial_steps
from tempering.core.probe import Probe


@dataclass(frozen=True)
class FABT(NearestAttack):
    """FAB along one boundary at a time, so that a step costs a single backward pass.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020, section 5.

    Attributes:
        steps: Linearizations per sample and target.
        targets: Number of the most likely outputs that are tried.
        top_targets: Number of targets that get all steps, chosen by a trial of a tenth of the
            steps for each; None for all of them without trials, as in the paper.
        until_fooled: Whether a sample leaves once it is fooled within eps; otherwise all
            targets and steps are used to find the nearest point.
    """

    name: ClassVar[str] = "fab-t"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = (
        "(targets / 10 + top_targets) x steps x (forward + backward), and a forward per target"
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
        """Run FAB towards the best targets; bisect at the end if the nearest point is wanted."""
        nearest = Nearest.start(problem.x)
        fooled, targets = rank_targets(probe, problem, self.targets)
        nearest.distance.masked_fill_(fooled, 0.0)
        if self.top_targets is not None and self.top_targets < targets.shape[1]:
            score = self._trial(probe, problem, targets, nearest)
            targets = best_targets(targets, score, self.top_targets)
        iteration = FABWalk(self.steps, 1, self.until_fooled)
        for target in targets.unbind(1):
            iteration.run(
                probe, problem, self._unfinished(problem, nearest), nearest, target=target
            )
        if not self.until_fooled:
            tighten(probe, problem, nearest, BISECTIONS)
        return nearest.x_adv

    def _trial(self, probe: Probe, problem: Problem, targets: Tensor, nearest: Nearest) -> Tensor:
        """Short runs towards each target; minus the distance reached, shape of targets."""
        score = problem.x.new_full(targets.shape, -torch.inf)
        iteration = FABWalk(trial_steps(self.steps), 1, self.until_fooled)
        for number, target in enumerate(targets.unbind(1)):
            rows, trial = self._unfinished(problem, nearest), Nearest.start(problem.x)
            iteration.run(probe, problem, rows, trial, target=target)
            distance = trial.distance[rows]
            nearest.update(rows, trial.x_adv[rows], distance, distance.isfinite())
            score[rows, number] = -distance
        return score

    def _unfinished(self, problem: Problem, nearest: Nearest) -> Tensor:
        bar = problem.threat.eps if self.until_fooled else 0.0
        return (nearest.distance > bar).nonzero()[:, 0]
