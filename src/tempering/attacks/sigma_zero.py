"""sigma-zero: the smallest number of changed pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.adam import PerSampleAdam
from tempering.attacks.base import Problem
from tempering.attacks.nearest import BatchedNearestAttack, Nearest, succeeds
from tempering.attacks.schedules import cosine
from tempering.attacks.steps import check_count, check_positive, check_share
from tempering.core.goals import margin, reached
from tempering.core.probe import Probe

_LAST_RATE = 0.1


@dataclass(frozen=True)
class SigmaZero(BatchedNearestAttack):
    """Minimize a margin loss and a smooth count of changed pixels; small changes are removed.

    Cina et al., 'Sigma-zero: gradient-based optimization of l0-norm adversarial
    examples', 2025, algorithm 1. Changes below a threshold are removed at every step; it
    rises after a success and falls otherwise. At the end, one more gradient ranks the
    pixels, and the smallest number of them that succeed, set to black or white, is found
    by bisection.

    Attributes:
        steps: Gradient steps per sample.
        learning_rate: Adam's first step, in pixel units; falls to a tenth along a cosine.
        sigma: Smoothness of the count: a change of sqrt(sigma) counts as one half.
        threshold: First threshold, in pixel units.
        threshold_step: Change of the threshold per step, as a share of the learning rate.
    """

    name: ClassVar[str] = "sigma-zero"
    norms: ClassVar[tuple[str, ...]] = ("l0",)
    source: ClassVar[str] = "Cina et al., 2025"
    cost: ClassVar[str] = "(steps + 1) x (forward + backward) + log2(pixels) x forward"

    steps: int = 1000
    learning_rate: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3
    threshold_step: float = 0.01

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_positive(self.name, "learning_rate", self.learning_rate)
        check_positive(self.name, "sigma", self.sigma)
        check_share(self.name, "threshold", self.threshold)
        check_share(self.name, "threshold_step", self.threshold_step)

    def _search_batch(self, probe: Probe, problem: Problem) -> Tensor:
        x, threat = problem.x, problem.threat
        rows = torch.arange(len(x), device=x.device)
        nearest, adam, x_adv = Nearest.start(x), PerSampleAdam.start(x), x.clone()
        low, high = threat.bounds(x)
        threshold = torch.full_like(nearest.distance, self.threshold)
        for step in range(self.steps):
            seen: list[Tensor] = []

            def lack(logits: Tensor, seen: list[Tensor] = seen) -> Tensor:
                seen.append(problem.protected(logits))
                return (-margin(logits, seen[0])).clamp_min(0.0)

            logits, gradient = probe.gradient(x_adv, lack, problem.streams.index)
            fooled = reached(logits, seen[0])
            nearest.update(rows, x_adv, threat.distance(x_adv, x), fooled)
            slope = self._slope(gradient, x_adv - x)
            rate = cosine(self.learning_rate, _LAST_RATE * self.learning_rate, step, self.steps)
            moved = (x_adv + adam.descend(slope, rate)).clamp(low, high)
            change = torch.where(fooled, rate, -rate).to(x.dtype) * self.threshold_step
            threshold = (threshold + change).clamp(0.0, 1.0)
            small = (moved - x).abs() < threshold[:, None, None, None]
            x_adv = torch.where(small, x, moved)
        nearest.update(
            rows, x_adv, threat.distance(x_adv, x), succeeds(probe, problem, x_adv, rows)
        )
        _prune(probe, problem, nearest)
        return nearest.x_adv

    def _slope(self, gradient: Tensor, delta: Tensor) -> Tensor:
        """Gradient of loss and smooth count, scaled to a largest entry of 1."""
        square = delta.square()
        count = 2 * self.sigma * delta / (square + self.sigma).square() / delta[0].numel()
        total = gradient + count
        largest = total.flatten(1).abs().amax(1)
        return total / largest.where(largest > 0, torch.ones_like(largest))[:, None, None, None]


def _prune(probe: Probe, problem: Problem, nearest: Nearest) -> None:
    """Bisect the number of pixels of the largest linear gain that suffices."""
    rows = (nearest.distance.isfinite() & (nearest.distance > 1)).nonzero()[:, 0]
    if not len(rows):
        return
    x, index = problem.x[rows], problem.streams.index[rows]

    def gap(logits: Tensor) -> Tensor:
        return margin(logits, problem.protected(logits, rows))

    _, gradient = probe.gradient(nearest.x_adv[rows], gap, index)
    low_end, high_end = problem.threat.bounds(x)
    ends = torch.where(gradient > 0, high_end, low_end)
    gains = (gradient * (ends - x)).flatten(1)
    rank = gains.argsort(dim=1, descending=True, stable=True).argsort(dim=1).reshape(x.shape)
    low, high = torch.zeros_like(nearest.distance[rows]), nearest.distance[rows]
    for _ in range(int(high.max()).bit_length()):
        some = ((low + high) / 2).floor()
        point = torch.where(rank < some[:, None, None, None], ends, x)
        success = succeeds(probe, problem, point, rows)
        nearest.update(rows, point, problem.threat.distance(point, x), success)
        low, high = torch.where(success, low, some), torch.where(success, some, high)
