"""APGD-T: one climb to each of the likeliest other classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from tempering.attacks.apgd import APGD
from tempering.attacks.base import Problem
from tempering.attacks.losses import ratio_to
from tempering.attacks.steps import check_count
from tempering.attacks.targets import survey
from tempering.core.probe import Probe


@dataclass(frozen=True)
class APGDT(APGD):
    """Climb the targeted difference of logits ratio, target after target, on what still stands.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020, section 4.1; in L1 'Mind the box', 2021.

    Attributes:
        steps: Gradient steps a sample and target.
        until_fooled: Whether a sample leaves as soon as it is fooled.
        targets: How many of the likeliest outputs are tried.
    """

    name: ClassVar[str] = "apgd-t"
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = "targets x (steps x (forward + backward) + forward) + forward"

    targets: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.name, "targets", self.targets)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """A climb to each target for samples that no target before has fooled."""
        out = problem.x.clone()
        fooled, targets = survey(probe, problem, self.targets)
        for number in range(targets.shape[1]):
            standing = (~fooled).nonzero()[:, 0]
            if not len(standing):
                break
            draws = problem.draws.to("target", number) if number else problem.draws
            part = replace(problem, draws=draws).part(standing)
            out[standing], fooled[standing] = self.climb(
                probe, part, ratio_to, targets[standing, number]
            )
        return out
