"""APGD-T: one climb to each of the likeliest other classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import Climb
from tempering.attacks.apgd import APGD
from tempering.attacks.base import Problem
from tempering.attacks.losses import ratio_to
from tempering.attacks.steps import check_count
from tempering.attacks.targets import check_top_targets, shortlist, survey, trial_steps
from tempering.core.errors import UsageError
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams

_NEAR = 0.05
"""How little loss short of success may be bad luck; no scale of the logits changes it, but
with two outputs it is in logits."""


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
        top_targets: How many of them get all steps, after a trial of a tenth of the steps
            for each; None for all of them and no trial, as the paper has it.
        extra_restarts: How many climbs more, each from another start to the best target, a sample
            gets at most if its best loss is just short of success; 0 in the paper.
        near: How little loss short of success a climb has to be to go on, a share of the
            logits' range: three times that after a fifth of its steps, twice after two fifths,
            and that after three; None to go on in any case, as the paper has it.
    """

    name: ClassVar[str] = "apgd-t"
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = (
        "(targets / 10 + top_targets + extra_restarts) x steps x (forward + backward), "
        "and a forward a climb"
    )

    targets: int = 9
    top_targets: int | None = 2
    extra_restarts: int = 2
    near: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.name, "targets", self.targets)
        check_top_targets(self.name, self.top_targets)
        if self.extra_restarts < 0:
            raise UsageError(f"apgd-t: extra_restarts = {self.extra_restarts}: give 0 or more")
        if self.near is not None and not self.near > 0:
            raise UsageError(f"apgd-t: near = {self.near}: give more than 0, or none")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Climbs to the best targets for samples that no target before has fooled."""
        run = _Climbs(self, probe, problem)
        targets = run.targets
        if self.top_targets is not None and self.top_targets < targets.shape[1]:
            score = run.over(targets, trial_steps(self.steps), "trial", near=None)
            targets = shortlist(targets, score, self.top_targets)
        run.again(targets, run.over(targets, self.steps, "target", near=self.near))
        return run.out


class _Climbs:
    """Samples that still stand, and their targets, likeliest first."""

    def __init__(self, attack: APGDT, probe: Probe, problem: Problem) -> None:
        self.attack, self.probe, self.problem = attack, probe, problem
        self.out = problem.x.clone()
        self.best = problem.x.new_full((len(problem.x),), -torch.inf)
        fooled, self.targets = survey(probe, problem, attack.targets)
        self.fooled = fooled & attack.until_fooled

    def over(
        self,
        targets: Tensor,
        steps: int,
        purpose: str,
        *,
        near: float | None,
        among: Tensor | None = None,
    ) -> Tensor:
        """A climb to each target, shape (n, m); the losses reached, shape of targets.

        Of all samples that stand, or of those among some, shape (n,), bool.

        Where few samples stand, several of their targets go side by side to fill a batch.
        Of targets that fool a sample the likeliest counts, so batches change no result.
        """
        score = self.out.new_full(targets.shape, -torch.inf)
        number = 0
        while number < targets.shape[1]:
            stands = ~self.fooled if among is None else ~self.fooled & among
            standing = stands.nonzero()[:, 0]
            if not len(standing):
                break
            numbers = range(number, min(number + self._abreast(standing), targets.shape[1]))
            climb = self._climb(standing, targets, numbers, steps, purpose, near)
            for place, one in enumerate(numbers):
                rows = slice(place * len(standing), (place + 1) * len(standing))
                score[standing, one] = climb.loss[rows]
                self._keep(standing, Climb(*(part[rows] for part in climb)))
            number = numbers.stop
        return score

    def again(self, targets: Tensor, score: Tensor) -> None:
        """Encores of samples that came near.

        Args:
            targets: Those that were climbed to, shape (n, m).
            score: Losses reached, shape of targets.
        """
        near = ~self.fooled & (self.best > -_NEAR) & (self.best <= 0)
        if self.attack.extra_restarts and bool(near.any()):
            best = targets.gather(1, score.argmax(1, keepdim=True))
            more = best.repeat(1, self.attack.extra_restarts)
            self.over(more, self.attack.steps, "extra-restart", near=self.attack.near, among=near)

    def _abreast(self, standing: Tensor) -> int:
        """How many targets a batch has room for; one at first, when most samples fall."""
        if self.probe.stateful or bool(self.best[standing].isneginf().any()):
            return 1
        return max(1, self.problem.batch_size // len(standing))

    def _climb(
        self,
        standing: Tensor,
        targets: Tensor,
        numbers: range,
        steps: int,
        purpose: str,
        near: float | None,
    ) -> Climb:
        """Climbs to some targets, all samples to the first of them, then to the next."""
        streams = [self.problem.streams[standing].derive(purpose, number) for number in numbers]
        part = self.problem.part(standing.repeat(len(numbers)))
        part = replace(part, streams=RandomStreams.side_by_side(streams))
        target = targets[standing][:, numbers.start : numbers.stop].t().flatten()
        return self.attack.climb(self.probe, part, ratio_to, target, steps, near=near)

    def _keep(self, standing: Tensor, climb: Climb) -> None:
        """The points of samples that are fooled now, or are better than before."""
        better = climb.loss > self.best[standing]
        if self.attack.until_fooled:
            before = self.fooled[standing]
            better = ~before & (better | climb.fooled)
            self.fooled[standing] = before | climb.fooled
        self.best[standing[better]] = climb.loss[better]
        self.out[standing[better]] = climb.points[better]
