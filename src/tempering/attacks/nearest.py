"""Minimum-norm attacks: the nearest success of each sample."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.core.goals import reached
from tempering.core.probe import Probe


@dataclass
class Nearest:
    """The nearest success of each sample so far.

    Attributes:
        x_adv: The points, shape (n, c, h, w); the image itself where nothing was found.
        distance: Shape (n,), dtype of x_adv, in any measure that grows with the norm;
            infinite where nothing was found.
    """

    x_adv: Tensor
    distance: Tensor

    @classmethod
    def start(cls, x: Tensor) -> Nearest:
        """No success yet."""
        return cls(x.clone(), torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device))

    def update(self, rows: Tensor, x_adv: Tensor, distance: Tensor, success: Tensor) -> None:
        """Keep successes that are nearer than the nearest so far.

        Args:
            rows: Samples to which the points belong, shape (m,), int64.
            x_adv: Points, shape (m, c, h, w).
            distance: Of each, shape (m,), any float.
            success: Which points succeed, shape (m,), bool.
        """
        distance = distance.to(self.distance.dtype)
        better = (success & (distance < self.distance[rows])).nonzero()[:, 0]
        if len(better):
            self.distance[rows[better]] = distance[better]
            self.x_adv[rows[better]] = x_adv[better]


@dataclass(frozen=True)
class NearestAttack(Attack):
    """The base of minimum-norm attacks.

    They return the nearest success if it is within the threat, or else the image itself.
    """

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The nearest success; the image itself if there is none, or the threat excludes it."""
        x_adv = self.search(probe, problem)
        threat = problem.threat
        near = threat.distance(x_adv, problem.x) <= threat.eps
        if not threat.built_in:  # which may allow less than its distance says
            near = near & threat.contains(x_adv, problem.x)
        return torch.where(near[:, None, None, None], x_adv, problem.x)

    def minimum_norm(self) -> bool:
        """True unless a sample leaves as soon as it is fooled."""
        return not getattr(self, "until_fooled", False)

    @abstractmethod
    def search(self, probe: Probe, problem: Problem) -> Tensor:
        """The nearest success of each sample at any distance; the image itself if there is none."""


@dataclass(frozen=True)
class BatchedNearestAttack(NearestAttack):
    """The base of minimum-norm attacks that take all samples of a batch through the same steps."""

    def search(self, probe: Probe, problem: Problem) -> Tensor:
        """All steps, batch by batch."""
        parts = (problem.part(rows) for rows in problem.batches())
        return torch.cat([self._search_batch(probe, part) for part in parts])

    @abstractmethod
    def _search_batch(self, probe: Probe, problem: Problem) -> Tensor: ...


def succeeds(probe: Probe, problem: Problem, x_adv: Tensor, rows: Tensor) -> Tensor:
    """Whether points succeed, shape (m,), bool; a forward pass each.

    Args:
        probe: The model.
        problem: Gives labels and the goal.
        x_adv: Points, shape (m, c, h, w).
        rows: Samples to which they belong, shape (m,), int64.
    """
    logits = probe.logits(x_adv, problem.streams.index[rows])
    return reached(logits, problem.protected(logits, rows))


def only_finite(x_adv: Tensor, before: Tensor) -> Tensor:
    """Points that are finite; the earlier ones where a threat of a user's own led to none."""
    finite = x_adv.flatten(1).isfinite().all(1)
    return torch.where(finite[:, None, None, None], x_adv, before)


def tighten(probe: Probe, problem: Problem, nearest: Nearest, times: int) -> None:
    """Bisect the line from each image to its nearest success.

    Args:
        probe: The model.
        problem: Samples and goal.
        nearest: Updated in place; distances in the threat's norm.
        times: Bisections, each a forward pass for every sample with a success.
    """
    successes = (nearest.distance.isfinite() & (nearest.distance > 0)).nonzero()[:, 0]
    for rows in replace(problem, x=problem.x[successes]).batches():
        ids = successes[rows]
        x, end = problem.x[ids], nearest.x_adv[ids]
        low, high = x.new_zeros(len(ids)), x.new_ones(len(ids))
        for _ in range(times):
            share = (low + high) / 2
            point = torch.lerp(x, end, share[:, None, None, None])
            success = succeeds(probe, problem, point, ids)
            nearest.update(ids, point, problem.threat.distance(point, x), success)
            low, high = torch.where(success, low, share), torch.where(success, share, high)
