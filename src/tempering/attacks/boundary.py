"""The boundary attack: a random walk along the decision boundary towards the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.approach import approach
from tempering.attacks.asking import Oracle, check_queries
from tempering.attacks.base import Attack, Problem
from tempering.attacks.starting import TRIES, check_tries, find_start
from tempering.attacks.stock import Stock
from tempering.core.errors import UsageError
from tempering.core.probe import Probe
from tempering.core.random import Draws

_START_PRECISION = 1e-3
_GROW = 1.5
_MEMORY = 0.9
"""How much of a success rate the next try leaves standing."""
_CHECK_EVERY = 5
"""Every so many steps the sideways half of a step is asked for by itself."""
_SETTLED = 1e-7


@dataclass(frozen=True)
class Boundary(Attack):
    """Steps sideways on a sphere around the image, then towards it; kept where they still fool.

    Brendel, Rauber and Bethge, 'Decision-based adversarial attacks: reliable attacks
    against black-box machine learning models', 2018. Step lengths follow the share of
    steps that succeed, for each sample by itself. It looks for the nearest image that
    fools; where that is farther than eps, the image itself is proposed. It starts from an
    image of `starts` or from noise that fools. Towards a given class such noise is rare:
    give `starts`, as the paper does. Where nothing fools, the sample is given up, which
    says nothing about the model; the tally notes such samples (`no_start`).

    Attributes:
        queries: Forward passes a sample at most.
        sideways: First step on the sphere, as a share of the distance.
        inwards: First step towards the image, as a share of the distance.
        until_fooled: Whether a sample leaves as soon as it is fooled within eps; False
            to find the smallest distance that the queries allow.
        tries: Images of `starts`, and of noise, that are tried for a start.
        starts: Images that the attacker brings along, by class: as an attack is written,
            the address of data such as `mnist`, whose training images serve.
    """

    name: ClassVar[str] = "boundary"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    access: ClassVar[str] = "labels"
    source: ClassVar[str] = "Brendel, Rauber and Bethge, 2018"
    cost: ClassVar[str] = "up to 25,000 forward passes a sample"

    queries: int = 25_000
    sideways: float = 0.1
    inwards: float = 0.1
    until_fooled: bool = True
    tries: int = TRIES
    starts: Stock | None = None

    def __post_init__(self) -> None:
        check_queries(self.name, self.queries)
        check_tries(self.name, self.tries)
        for field in ("sideways", "inwards"):
            if not 0 < getattr(self, field) <= 1:
                raise UsageError(
                    f"boundary: {field} = {getattr(self, field)}: give more than 0 and at most 1"
                )

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The nearest fooling image within eps; the image itself where none was found."""
        oracle = Oracle(probe, problem, self.queries)
        everyone = torch.arange(len(problem.x), device=problem.x.device)
        fooled = oracle.fooled(problem.x, everyone)
        x_adv, rows = find_start(oracle, problem, everyone[~fooled], self.tries, self.starts)
        x_adv[rows] = approach(oracle, problem, x_adv[rows], rows, _START_PRECISION)
        paces = _Paces.start(self, problem.x)
        step = 0
        while len(rows := self._going(oracle, problem, x_adv, rows, paces)):
            step += 1
            self._advance(oracle, problem, x_adv, rows, paces, step)
        within = problem.threat.distance(x_adv, problem.x) <= problem.threat.eps
        return torch.where(within[:, None, None, None], x_adv, problem.x)

    def _going(
        self, oracle: Oracle, problem: Problem, x_adv: Tensor, rows: Tensor, paces: _Paces
    ) -> Tensor:
        rows = oracle.may(rows)
        rows = rows[paces.inwards[rows] > _SETTLED]
        if not self.until_fooled:
            return rows
        return rows[problem.threat.distance(x_adv[rows], problem.x[rows]) > problem.threat.eps]

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

    def seeks_nearest(self) -> bool:
        """It does, unless it leaves a sample that is fooled within the threat."""
        return not self.until_fooled

    def config(self) -> dict[str, Any]:
        """Hyperparameters, and where its own images come from."""
        own = None if self.starts is None else self.starts.address
        return {**Attack.config(replace(self, starts=None)), "starts": own}

    def label(self) -> str:
        """The name with its queries, such as `boundary-25000`."""
        return f"{self.name}-{self.queries}"


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
