"""APGD-T: one climb to each of the likeliest other classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.apgd import APGD
from tempering.attacks.base import Problem
from tempering.attacks.losses import ratio_to
from tempering.attacks.steps import check_count
from tempering.attacks.targets import check_finalists, shortlist, survey, trial_steps
from tempering.core.probe import Probe


@dataclass(frozen=True)
class APGDT(APGD):
    """Climb the targeted difference of logits ratio, target after target, on what still stands.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020, section 4.1; in L1 'Mind the box', 2021.

    Attributes:
        steps: Gradient steps a sample and target.
        until_fooled: Whether a sample leaves as soon as it is fooled; otherwise every climb
            is made, and the point of largest loss returned.
        targets: How many of the likeliest outputs are tried.
        finalists: How many of them get all steps, after a trial of a tenth of the steps
            for each; None for all of them and no trial, as the paper has it.
    """

    name: ClassVar[str] = "apgd-t"
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = (
        "(targets / 10 + finalists) x steps x (forward + backward), and a forward a climb"
    )

    targets: int = 9
    finalists: int | None = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.name, "targets", self.targets)
        check_finalists(self.name, self.finalists)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Climbs to the best targets for samples that no target before has fooled."""
        run = _Climbs(self, probe, problem)
        targets = run.targets
        if self.finalists is not None and self.finalists < targets.shape[1]:
            score = run.over(targets, trial_steps(self.steps), "trial")
            targets = shortlist(targets, score, self.finalists)
        run.over(targets, self.steps, "target")
        return run.out


class _Climbs:
    """Samples that still stand, and their targets, likeliest first."""

    def __init__(self, attack: APGDT, probe: Probe, problem: Problem) -> None:
        self.attack, self.probe, self.problem = attack, probe, problem
        self.out = problem.x.clone()
        self.best = problem.x.new_full((len(problem.x),), -torch.inf)
        fooled, self.targets = survey(probe, problem, attack.targets)
        self.fooled = fooled & attack.until_fooled

    def over(self, targets: Tensor, steps: int, purpose: str) -> Tensor:
        """A climb to each target, shape (n, m); the losses reached, shape of targets."""
        score = self.out.new_full(targets.shape, -torch.inf)
        for number, target in enumerate(targets.unbind(1)):
            standing = (~self.fooled).nonzero()[:, 0]
            if not len(standing):
                break
            draws = self.problem.draws.to(purpose, number)
            part = replace(self.problem, draws=draws).part(standing)
            climb = self.attack.climb(self.probe, part, ratio_to, target[standing], steps)
            score[standing, number] = climb.loss
            better = climb.loss > self.best[standing]
            if self.attack.until_fooled:
                self.fooled[standing] = climb.fooled
                better |= climb.fooled
            self.best[standing[better]] = climb.loss[better]
            self.out[standing[better]] = climb.points[better]
        return score
