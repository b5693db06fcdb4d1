"""FAB: the nearest adversarial image by steps along the nearest boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.fab_walk import FABWalk
from tempering.attacks.nearest import Nearest, NearestAttack, tighten
from tempering.attacks.steps import check_count
from tempering.core.probe import Probe

BISECTIONS = 10
"""Final bisections of the line from each image to its nearest success."""


@dataclass(frozen=True)
class FAB(NearestAttack):
    """Step along the nearest linearized boundary with a bias towards the image.

    Croce and Hein, 'Minimally distorted adversarial examples with a fast adaptive
    boundary attack', 2020.

    Attributes:
        steps: Linearizations per sample.
        rivals: Number of the most likely other outputs that are considered.
        random_start: Whether to start at a random point of the ball of radius eps / 2, as
            restarts do, and not at the image itself.
        until_fooled: Whether a sample leaves once it is fooled within eps; otherwise all
            steps are used to find the nearest point.
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
        """Step along the boundary, then bisect the line to the best point."""
        half = problem.threat.with_eps(problem.threat.eps / 2)

        def start(ids: Tensor) -> Tensor:
            x = problem.x[ids]
            return half.sample(x, problem.streams[ids]) if self.random_start else x.clone()

        nearest = Nearest.start(problem.x)
        rows = torch.arange(len(problem.x), device=problem.x.device)
        iteration = FABWalk(self.steps, self.rivals, self.until_fooled)
        iteration.run(probe, problem, rows, nearest, start)
        if not self.until_fooled:
            tighten(probe, problem, nearest, BISECTIONS)
        return nearest.x_adv
