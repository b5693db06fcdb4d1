"""An adversarial patch for each image: arbitrary pixels within one square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.attacks.steps import check_count, check_steps
from tempering.core.errors import ThreatError
from tempering.core.goals import log_odds, reached
from tempering.core.patches import Patch
from tempering.core.probe import Probe


@dataclass(frozen=True)
class PatchAttack(Attack):
    """Ascend cross-entropy within one square, at the place of the largest gradient.

    After Brown, Mané, Roy, Abadi and Gilmer, 'Adversarial patch', 2017, but with a patch
    for each image. If the threat has no fixed place, every second place is random, since
    the place of the largest gradient is not always the best.

    Attributes:
        steps: Gradient steps per sample and place.
        step_size: Length of a step in pixel units.
        places: Number of places that are tried; 1 for a patch of a fixed place.
    """

    name: ClassVar[str] = "patch"
    norms: ClassVar[tuple[str, ...]] = ("patch",)
    source: ClassVar[str] = "Brown, Mané, Roy, Abadi and Gilmer, 2017"
    cost: ClassVar[str] = "(places x steps + 1) x (forward + backward) + places x forward"

    steps: int = 40
    step_size: float = 0.1
    places: int = 4

    def __post_init__(self) -> None:
        check_steps(self.name, self.steps, self.step_size)
        check_count(self.name, "places", self.places)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The first patch that succeeds, or else the last one tried."""
        threat = patch_of(problem)
        out = problem.x.clone()
        for rows in problem.batches():
            x = problem.x[rows]
            logits, gradient = _gradient(probe, problem, rows, x)
            robust = rows[~_reached(problem, rows, logits)]
            gradient = gradient[torch.isin(rows, robust)]
            for place in range(self.places if threat.at is None else 1):
                if not len(robust):
                    break
                if place % 2 == 0:
                    gain = torch.where(gradient > 0, 1 - problem.x[robust], problem.x[robust])
                    mask = threat.best(gradient.abs() * gain)
                    gradient = gradient * ~mask
                else:
                    streams = problem.streams[robust].derive("place", place)
                    mask = threat.random(problem.x[robust].shape, streams)
                x_adv, fooled = self._place(probe, problem, robust, mask)
                out[robust] = x_adv
                robust, gradient = robust[~fooled], gradient[~fooled]
        return out

    def _place(
        self, probe: Probe, problem: Problem, rows: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Ascend within masks; images, and which of them succeed."""
        x_adv = problem.x[rows].clone()
        fooled = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        for _ in range(self.steps):
            here = (~fooled).nonzero()[:, 0]
            if not len(here):
                break
            logits, gradient = _gradient(probe, problem, rows[here], x_adv[here])
            won = _reached(problem, rows[here], logits)
            fooled[here[won]] = True
            step = self.step_size * gradient.sign() * mask[here]
            moved = (x_adv[here] + step).clamp(0.0, 1.0)
            x_adv[here] = torch.where(won[:, None, None, None], x_adv[here], moved)
        here = (~fooled).nonzero()[:, 0]
        if len(here):
            logits = probe.logits(x_adv[here], problem.streams.index[rows[here]])
            fooled[here] = _reached(problem, rows[here], logits)
        return x_adv, fooled


def patch_of(problem: Problem) -> Patch:
    """The threat of a problem, as a patch.

    Raises:
        ThreatError: If it is no patch, or exceeds the image.
    """
    if not isinstance(problem.threat, Patch):
        raise ThreatError(f"{problem.threat} is no patch: give patch:0.05")
    problem.threat.places(*problem.x.shape[2:])
    return problem.threat


def _gradient(probe: Probe, problem: Problem, rows: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    def loss(logits: Tensor) -> Tensor:
        return log_odds(logits, problem.goal.protected(problem.y[rows], logits.shape[1]))

    return probe.gradient(x, loss, problem.streams.index[rows])


def _reached(problem: Problem, rows: Tensor, logits: Tensor) -> Tensor:
    return reached(logits, problem.goal.protected(problem.y[rows], logits.shape[1]))
