"""The boundary attack: a random walk along the decision boundary towards the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet
from tempering.attacks.ahead import ahead
from tempering.attacks.approach import approach
from tempering.attacks.asking import Oracle
from tempering.attacks.base import Problem
from tempering.attacks.decision import DecisionAttack
from tempering.core.errors import UsageError

_START_PRECISION = 1e-3
_GROW = 1.5
_MEMORY = 0.9
"""How much of a success rate the next try leaves standing."""
_CHECK_EVERY = 5
"""Every so many steps the sideways half of a step is asked for by itself."""
_SETTLED = 1e-7
_AHEAD = 128
"""Samples times steps that noise is drawn for at a time."""
_SIDEWAYS_RATE, _INWARDS_RATE = 0.35, 0.2
"""Success rates that a step length begins with, and after every change of it."""


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
        walkers = _Walkers.at(self, problem, x_adv, rows)
        step, together = 0, max(1, _AHEAD // max(1, len(rows)))
        while len(walkers):
            stay = (oracle.left(walkers.ids) > 0) & (walkers.inwards > _SETTLED)
            if self.until_fooled:
                stay &= walkers.away > problem.threat.eps
            if not bool(stay.all()):
                x_adv[walkers.ids] = walkers.x_adv
                walkers = walkers.keep(stay.nonzero()[:, 0])
                continue
            if step % together == 0:
                walkers.draw(problem, range(step + 1, step + 1 + together))
            _advance(oracle, problem, walkers, step % together, (step + 1) % _CHECK_EVERY == 0)
            step += 1


@dataclass
class _Walkers(ActiveSet):
    """Samples under way: where they are, their step lengths, and how often steps succeeded lately.

    Images have shape (n, c, h, w), noise for some steps ahead (n, steps, c * h * w),
    everything else (n,).
    """

    x: Tensor
    x_adv: Tensor
    away: Tensor
    sideways: Tensor
    inwards: Tensor
    sideways_rate: Tensor
    inwards_rate: Tensor
    noise: Tensor

    @classmethod
    def at(cls, attack: Boundary, problem: Problem, x_adv: Tensor, rows: Tensor) -> _Walkers:
        x, here = problem.x[rows], x_adv[rows]
        away = problem.threat.distance(here, x)
        pace = torch.ones_like(away)
        return cls(
            rows,
            x,
            here,
            away,
            attack.sideways * pace,
            attack.inwards * pace,
            _SIDEWAYS_RATE * pace,
            _INWARDS_RATE * pace,
            x.new_zeros(len(x), 0, x[0].numel() if len(x) else 0),
        )

    def draw(self, problem: Problem, steps: range) -> None:
        """Noise for the steps to come."""
        streams = ahead(problem.streams[self.ids], steps, "step")
        noise = streams.normal((self.x[0].numel(),)).to(self.x.dtype)
        self.noise = noise.reshape(len(steps), len(self), -1).transpose(0, 1)

    def heed_sideways(self, won: Tensor, asked: Tensor) -> None:
        """About half of all sideways steps should succeed: the border is then nearly flat."""
        rate = self.sideways_rate.lerp(won.to(self.sideways.dtype), 1 - _MEMORY)
        factor = _factor(rate, 0.2, 0.5).where(asked, torch.ones_like(rate))
        changed = factor != 1
        self.sideways_rate = torch.where(
            changed, _SIDEWAYS_RATE, rate.where(asked, self.sideways_rate)
        )
        self.sideways = (self.sideways * factor).clamp_max(1.0)
        self.inwards = self._inwards(changed, factor)

    def heed_inwards(self, won: Tensor) -> None:
        """About a fifth of all steps inwards should succeed."""
        rate = self.inwards_rate.lerp(won.to(self.inwards.dtype), 1 - _MEMORY)
        factor = _factor(rate, 0.1, 0.25)
        changed = factor != 1
        self.inwards_rate = rate.masked_fill(changed, _INWARDS_RATE)
        self.inwards = self._inwards(changed, factor)

    def _inwards(self, changed: Tensor, factor: Tensor) -> Tensor:
        return torch.where(changed, (self.inwards * factor).clamp_max(0.5), self.inwards)


def _factor(rate: Tensor, hard: float, easy: float) -> Tensor:
    """Longer steps where they succeed easily, shorter ones where they hardly do, else 1."""
    return _GROW ** ((rate > easy).to(rate.dtype) - (rate < hard).to(rate.dtype))


def _advance(oracle: Oracle, problem: Problem, walkers: _Walkers, turn: int, check: bool) -> None:
    """One step for all walkers, in place, with one turn of their noise."""
    on_sphere = _sideways(walkers, walkers.noise[:, turn])
    if check:
        asked = oracle.left(walkers.ids) > 1
        here = asked.nonzero()[:, 0]
        won = torch.zeros_like(asked)
        won[here] = oracle.fooled(on_sphere[here], walkers.ids[here])
        walkers.heed_sideways(won, asked)
    pace = walkers.inwards[:, None, None, None]
    tried = torch.lerp(on_sphere, walkers.x, pace).clamp_(0.0, 1.0)
    won = oracle.fooled(tried, walkers.ids)
    walkers.heed_inwards(won)
    away = problem.threat.distance(tried, walkers.x)
    nearer = won & (away < walkers.away)
    walkers.away = torch.where(nearer, away, walkers.away)
    walkers.x_adv = torch.where(nearer[:, None, None, None], tried, walkers.x_adv)


def _sideways(walkers: _Walkers, noise: Tensor) -> Tensor:
    """A random step at right angles to the way to x, back on the sphere and in the box.

    At right angles, it makes the way longer by the root of 1 + pace ** 2.
    """
    x, away, pace = walkers.x.flatten(1), walkers.away[:, None], walkers.sideways[:, None]
    outwards = walkers.x_adv.flatten(1) - x
    share = torch.linalg.vecdot(noise, outwards)[:, None] / away.square()
    noise = torch.addcmul(noise, outwards, share, value=-1)
    length = torch.linalg.vector_norm(noise, dim=1, keepdim=True).clamp_min(1e-12)
    moved = torch.addcmul(outwards, noise, pace * away / length)
    return (x + moved / (1 + pace.square()).sqrt()).clamp_(0.0, 1.0).reshape(walkers.x.shape)
