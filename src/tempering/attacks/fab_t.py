"""FAB-T: walks along the boundary to each of the likeliest other classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.boundary_walk import BoundaryWalk
from tempering.attacks.fab import BISECTIONS
from tempering.attacks.nearest import Nearest, NearestAttack, tighten
from tempering.attacks.steps import check_count
from tempering.attacks.targets import survey
from tempering.core.probe import Probe


@dataclass(frozen=True)
class FABT(NearestAttack):
    """FAB along one boundary at a time: a step costs one backward pass, whatever the classes.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020, section 5.

    Attributes:
        steps: Linearisations a sample and target.
        targets: How many of the likeliest outputs are tried.
        until_fooled: Whether a sample leaves once it is fooled within eps; otherwise all
            targets and steps go into the nearest point.
    """

    name: ClassVar[str] = "fab-t"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = "targets x (steps x (forward + backward) + forward) + 11 x forward"

    steps: int = 100
    targets: int = 9
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_count(self.name, "targets", self.targets)

    def search(self, probe: Probe, problem: Problem) -> Tensor:
        """Walk to each target with samples that still stand; bisect if the nearest is wanted."""
        nearest = Nearest.start(problem.x)
        fooled, targets = survey(probe, problem, self.targets)
        nearest.distance.masked_fill_(fooled, 0.0)
        bar = problem.threat.eps if self.until_fooled else 0.0
        walk = BoundaryWalk(self.steps, 1, self.until_fooled)
        for target in targets.unbind(1):
            standing = (nearest.distance > bar).nonzero()[:, 0]
            walk.run(probe, problem, standing, lambda ids: problem.x[ids], nearest, target)
        if not self.until_fooled:
            tighten(probe, problem, nearest, BISECTIONS)
        return nearest.x_adv

    def label(self) -> str:
        """The name with its steps, such as `fab-t-100`."""
        return f"{self.name}-{self.steps}"
