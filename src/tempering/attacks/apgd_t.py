"""APGD-T: a targeted ascent to each of the most likely other classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import AscentResult
from tempering.attacks.apgd import ascend
from tempering.attacks.base import Attack, Problem
from tempering.attacks.losses import ratio_to
from tempering.attacks.steps import check_count
from tempering.attacks.targets import best_targets, check_top_targets, rank_targets, trial_steps
from tempering.core.errors import UsageError
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams

_RESTART_MARGIN = 0.05
"""Largest distance to success, in units of the DLR loss, at which a sample gets extra restarts."""


@dataclass(frozen=True)
class APGDT(Attack):
    """The targeted difference of logits ratio, one target after the other on robust samples.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020, section 4.1; in L1 'Mind the box', 2021.

    Attributes:
        steps: Gradient steps per sample and target.
        until_fooled: Whether a sample leaves as soon as it is fooled; otherwise all targets
            are tried, and the point of the largest loss is returned.
        targets: Number of the most likely outputs that are tried.
        top_targets: Number of targets that get all steps, chosen by a trial of a tenth of the
            steps for each; None for all of them without trials, as in the paper.
        extra_restarts: Restarts on the best target for samples whose best loss is within
            0.05 of success; 0 in the paper.
    """

    name: ClassVar[str] = "apgd-t"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    any_threat: ClassVar[bool] = True
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = (
        "(targets / 10 + top_targets + extra_restarts) x steps x (forward + backward), "
        "and a forward per ascent"
    )

    steps: int = 100
    until_fooled: bool = True
    targets: int = 9
    top_targets: int | None = 2
    extra_restarts: int = 2

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_count(self.name, "targets", self.targets)
        check_top_targets(self.name, self.top_targets)
        if self.extra_restarts < 0:
            raise UsageError(f"apgd-t: extra_restarts = {self.extra_restarts}: give 0 or more")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Ascend to the best targets of each sample until one succeeds."""
        run = _TargetedRun(self, probe, problem)
        targets = run.targets
        if self.top_targets is not None and self.top_targets < targets.shape[1]:
            score = run.ascend(targets, trial_steps(self.steps), "trial", run.robust())
            targets = best_targets(targets, score, self.top_targets)
        score = run.ascend(targets, self.steps, "target", run.robust())
        near = run.robust() & (run.best > -_RESTART_MARGIN) & (run.best <= 0)
        if self.extra_restarts and bool(near.any()):
            best = targets.gather(1, score.argmax(1, keepdim=True))
            again = best.repeat(1, self.extra_restarts)
            run.ascend(again, self.steps, "extra-restart", near)
        return run.out


class _TargetedRun:
    """The samples of a problem and their best points so far.

    Attributes:
        out: Points of the largest loss, or those that succeeded, shape (n, c, h, w).
        best: Their losses, shape (n,).
        fooled: Which samples need no further ascent, shape (n,), bool.
        targets: Their targets, most likely first, shape (n, m).
    """

    def __init__(self, attack: APGDT, probe: Probe, problem: Problem) -> None:
        self._attack, self._probe, self._problem = attack, probe, problem
        self.out = problem.x.clone()
        self.best = problem.x.new_full((len(problem.x),), -torch.inf)
        fooled, self.targets = rank_targets(probe, problem, attack.targets)
        self.fooled = fooled & attack.until_fooled

    def robust(self) -> Tensor:
        """Samples that are not fooled, shape (n,), bool."""
        return ~self.fooled

    def ascend(
        self,
        targets: Tensor,
        steps: int,
        purpose: str,
        among: Tensor,
    ) -> Tensor:
        """Ascend to each target in turn; the losses reached, shape of targets, (n, m).

        Several targets of a sample run side by side where few samples are left, to fill a
        batch. The most likely target that succeeds counts, so batches change no result.
        """
        score = self.out.new_full(targets.shape, -torch.inf)
        number = 0
        while number < targets.shape[1]:
            rows = (among & self.robust()).nonzero()[:, 0]
            if not len(rows):
                break
            numbers = range(number, min(number + self._parallel(rows), targets.shape[1]))
            streams = [self._problem.streams[rows].derive(purpose, i) for i in numbers]
            part = self._problem.part(rows.repeat(len(numbers)))
            result = ascend(
                self._probe,
                replace(part, streams=RandomStreams.side_by_side(streams)),
                ratio_to,
                steps,
                target=targets[rows][:, numbers.start : numbers.stop].t().flatten(),
                until_fooled=self._attack.until_fooled,
            )
            for place, target in enumerate(numbers):
                block = slice(place * len(rows), (place + 1) * len(rows))
                score[rows, target] = result.loss[block]
                self._keep(rows, AscentResult(*(field[block] for field in result)))
            number = numbers.stop
        return score

    def _parallel(self, rows: Tensor) -> int:
        """Targets that fit into a batch; one at first, when most samples fall."""
        if self._probe.stateful or bool(self.best[rows].isneginf().any()):
            return 1
        return max(1, self._problem.batch_size // len(rows))

    def _keep(self, rows: Tensor, result: AscentResult) -> None:
        """Keep points that succeed or have a larger loss than before."""
        better = result.loss > self.best[rows]
        if self._attack.until_fooled:
            before = self.fooled[rows]
            better = ~before & (better | result.fooled)
            self.fooled[rows] = before | result.fooled
        self.best[rows[better]] = result.loss[better]
        self.out[rows[better]] = result.points[better]
