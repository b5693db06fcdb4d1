"""The boundary attack: a random walk along the decision boundary towards the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.approach import approach
from tempering.attacks.asking import Oracle
from tempering.attacks.base import Problem
from tempering.attacks.decision import DecisionAttack
from tempering.core.errors import UsageError
from tempering.core.random import Draws

_START_PRECISION = 1e-3
_GROW = 1.5
_MEMORY = 0.9
"""How much of a success rate the next try leaves standing."""
_CHECK_EVERY = 5
"""Every so many steps the sideways half of a step is asked for by itself."""
_SETTLED = 1e-7


@dataclass(frozen=True)
class Boundary(DecisionAttack):
    """Steps sideways on a sphere around the image, then towards it; kept where they still fool.

    Brendel, Rauber and Bethge, 'Decision-based adversarial attacks: reliable attacks
    against black-box machine learning models', 2018. Step lengths follow the share of
    steps that succeed, for each sample by itself.

    Attributes:
        sideways: First step on the sphere, as a share of the distance.
        inwards: First step towards the image, as a share of the distance.
    """

    name: ClassVar[str] = "boundary"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    source: ClassVar[str] = "Brendel, Rauber and Bethge, 2018"
    cost: ClassVar[str] = "up to 25,000 forward passes a sample"

    queries: int = 25_000
    sideways: float = 0.1
    inwards: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("sideways", "inwards"):
            if not 0 < getattr(self, field) <= 1:
                raise UsageError(
                    f"boundary: {field} = {getattr(self, field)}: give more than 0 and at most 1"
                )

    def walk(self, oracle: Oracle, problem: Problem, x_adv: Tensor, rows: Tensor) -> None:
        """Step after step, until steps are as good as none."""
        x_adv[rows] = approach(oracle, problem, x_adv[rows], rows, _START_PRECISION)
        paces = _Paces.start(self, problem.x)
        step = 0
        while True:
            rows = self.going(oracle, problem, x_adv, rows)
            rows = rows[paces.inwards[rows] > _SETTLED]
            if not len(rows):
                break
            step += 1
            self._advance(oracle, problem, x_adv, rows, paces, step)

    def _advance(
        self,
        oracle: Oracle,
        problem: Problem,
        x_adv: Tensor,
        rows: Tensor,
        paces: _Paces,
        step: int,
    ) -> None:
        """One step for all rows, in place."""
        x = problem.x[rows]
        away = problem.threat.distance(x_adv[rows], x)
        draws = problem.draws[rows].to("step", step)
        on_sphere = _sideways(x, x_adv[rows], away, paces.sideways[rows], draws)
        if step % _CHECK_EVERY == 0:
            asked = (oracle.left(rows) > 1).nonzero()[:, 0]
            won = oracle.fooled(on_sphere[asked], rows[asked])
            paces.heed_sideways(rows[asked], won)
        tried = on_sphere + paces.inwards[rows][:, None, None, None] * (x - on_sphere)
        tried = tried.clamp(0.0, 1.0)
        won = oracle.fooled(tried, rows)
        paces.heed_inwards(rows, won)
        nearer = won & (problem.threat.distance(tried, x) < away)
        x_adv[rows[nearer]] = tried[nearer]


def _sideways(x: Tensor, x_adv: Tensor, away: Tensor, pace: Tensor, draws: Draws) -> Tensor:
    """A random step at right angles to the way to x, back on the sphere and in the box."""
    inwards = (x - x_adv).flatten(1) / away[:, None]
    noise = draws.normal(x.shape[1:]).to(x.dtype).flatten(1)
    noise = noise - (noise * inwards).sum(1, keepdim=True) * inwards
    noise = noise / noise.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
    moved = x_adv.flatten(1) + (pace * away)[:, None] * noise
    outwards = moved - x.flatten(1)
    length = outwards.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
    return (x + (outwards / length * away[:, None]).reshape(x.shape)).clamp(0.0, 1.0)


@dataclass
class _Paces:
    """Step lengths of each sample, and how often its steps succeeded lately."""

    sideways: Tensor
    inwards: Tensor
    sideways_rate: Tensor
    inwards_rate: Tensor

    @classmethod
    def start(cls, attack: Boundary, x: Tensor) -> _Paces:
        one = torch.ones(len(x), dtype=x.dtype, device=x.device)
        return cls(attack.sideways * one, attack.inwards * one, 0.35 * one, 0.2 * one)

    def heed_sideways(self, rows: Tensor, won: Tensor) -> None:
        """About half of all sideways steps should succeed: the border is then nearly flat."""
        rate = self.sideways_rate[rows].lerp(won.to(self.sideways.dtype), 1 - _MEMORY)
        easy, hard = rows[rate > 0.5], rows[rate < 0.2]
        self.sideways_rate[rows] = rate
        for rows_here, factor in ((easy, _GROW), (hard, 1 / _GROW)):
            self.sideways[rows_here] = (self.sideways[rows_here] * factor).clamp_max(1.0)
            self.inwards[rows_here] = (self.inwards[rows_here] * factor).clamp_max(0.5)
            self.sideways_rate[rows_here] = 0.35

    def heed_inwards(self, rows: Tensor, won: Tensor) -> None:
        """About a fifth of all steps inwards should succeed."""
        rate = self.inwards_rate[rows].lerp(won.to(self.inwards.dtype), 1 - _MEMORY)
        easy, hard = rows[rate > 0.25], rows[rate < 0.1]
        self.inwards_rate[rows] = rate
        for rows_here, factor in ((easy, _GROW), (hard, 1 / _GROW)):
            self.inwards[rows_here] = (self.inwards[rows_here] * factor).clamp_max(0.5)
            self.inwards_rate[rows_here] = 0.2
