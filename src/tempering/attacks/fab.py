"""FAB: the nearest adversarial by walks along the nearest boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.boundary_walk import BoundaryWalk
from tempering.attacks.nearest import Nearest, NearestAttack, tighten
from tempering.attacks.steps import check_count
from tempering.core.probe import Probe

BISECTIONS = 10
"""Of the line from each image to its nearest success, at the end."""


@dataclass(frozen=True)
class FAB(NearestAttack):
    """Walk along the nearest linearised boundary, drawn back to the image all the while.

    Croce and Hein, 'Minimally distorted adversarial examples with a fast adaptive
    boundary attack', 2020.

    Attributes:
        steps: Linearisations a sample.
        rivals: How many of the likeliest other outputs are looked at in each.
        random_start: Whether to start at a random point of the ball of half of eps, as
            restarts do, and not at the image itself.
        until_fooled: Whether a sample leaves once it is fooled within eps; otherwise all
            steps go into the nearest point.
    """

    name: ClassVar[str] = "fab"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    source: ClassVar[str] = "Croce and Hein, 2020"
    cost: ClassVar[str] = "steps x (forward + rivals x backward) + 11 x forward"

    steps: int = 100
    rivals: int = 9
    random_start: bool = False
    until_fooled: bool = False

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_count(self.name, "rivals", self.rivals)

    def search(self, probe: Probe, problem: Problem) -> Tensor:
        """Walk, then bisect the line to the best point."""
        half = problem.threat.with_eps(problem.threat.eps / 2)

        def start(ids: Tensor) -> Tensor:
            x = problem.x[ids]
            return half.sample(x, problem.streams[ids]) if self.random_start else x.clone()

        nearest = Nearest.start(problem.x)
        everyone = torch.arange(len(problem.x), device=problem.x.device)
        walk = BoundaryWalk(self.steps, self.rivals, self.until_fooled)
        walk.run(probe, problem, everyone, nearest, start)
        if not self.until_fooled:
            tighten(probe, problem, nearest, BISECTIONS)
        return nearest.x_adv

    def label(self) -> str:
        """The name with its steps, such as `fab-100`."""
        return f"{self.name}-{self.steps}"
