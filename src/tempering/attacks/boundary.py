"""The boundary attack: a random walk along the decision boundary towards the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.active_set import ActiveSet
from tempering.attacks.base import Problem
from tempering.attacks.boundary_search import search_boundary
from tempering.attacks.decision import DecisionAttack
from tempering.attacks.query_oracle import QueryOracle
from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams

_START_PRECISION = 1e-3
_FACTOR = 1.5
"""Factor by which step lengths grow and shrink."""
_DECAY = 0.9
"""Weight of the old value in the running success rates."""
_CHECK_EVERY = 5
"""Every so many steps the orthogonal half of a step takes a query of its own."""
_SETTLED = 1e-7
_NOISE_ROWS = 128
"""Samples times steps for which noise is drawn at once."""
_ORTHOGONAL_RATE, _SOURCE_RATE = 0.35, 0.2
"""Success rates assumed at first, and after every change of a step length."""


@dataclass(frozen=True)
class Boundary(DecisionAttack):
    """Random orthogonal steps around the image and steps towards it, kept if still adversarial.

    Brendel, Rauber and Bethge, 'Decision-based adversarial attacks: reliable attacks
    against black-box machine learning models', 2018. Step lengths adapt to the success
    rate of the steps, for each sample separately.

    Attributes:
        sideways: First orthogonal step, as a share of the distance.
        inwards: First step towards the image, as a share of the distance.
    """

    name: ClassVar[str] = "boundary"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    source: ClassVar[str] = "Brendel, Rauber and Bethge, 2018"
    cost: ClassVar[str] = "queries x forward"

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

    def minimize(self, oracle: QueryOracle, problem: Problem, x_adv: Tensor, rows: Tensor) -> None:
        """Step until the queries are spent or steps have become negligible."""
        x_adv[rows] = search_boundary(oracle, problem, x_adv[rows], rows, _START_PRECISION)
        state = _BoundaryState.start(self, problem, x_adv, rows)
        step, block = 0, max(1, _NOISE_ROWS // max(1, len(rows)))
        while len(state):
            stay = (oracle.remaining(state.ids) > 0) & (state.inwards > _SETTLED)
            if self.until_fooled:
                stay &= state.distance > problem.threat.eps
            if not bool(stay.all()):
                x_adv[state.ids] = state.x_adv
                state = state.keep(stay.nonzero()[:, 0])
                continue
            if step % block == 0:
                state.draw(problem, range(step + 1, step + 1 + block))
            _advance(oracle, problem, state, step % block, (step + 1) % _CHECK_EVERY == 0)
            step += 1


@dataclass
class _BoundaryState(ActiveSet):
    """Samples with their step lengths and recent success rates.

    Images have shape (n, c, h, w), the noise of the next steps (n, steps, c * h * w),
    everything else (n,).
    """

    x: Tensor
    x_adv: Tensor
    distance: Tensor
    sideways: Tensor
    inwards: Tensor
    sideways_rate: Tensor
    inwards_rate: Tensor
    noise: Tensor

    @classmethod
    def start(
        cls, attack: Boundary, problem: Problem, x_adv: Tensor, rows: Tensor
    ) -> _BoundaryState:
        x, here = problem.x[rows], x_adv[rows]
        distance = problem.threat.distance(here, x).to(x.dtype)
        ones = torch.ones_like(distance)
        return cls(
            rows,
            x,
            here,
            distance,
            attack.sideways * ones,
            attack.inwards * ones,
            _ORTHOGONAL_RATE * ones,
            _SOURCE_RATE * ones,
            x.new_zeros(len(x), 0, x[0].numel() if len(x) else 0),
        )

    def draw(self, problem: Problem, steps: range) -> None:
        """Draw the noise of the next steps, 0 where the threat allows no change."""
        streams = problem.streams[self.ids]
        streams = RandomStreams.side_by_side([streams.derive("step", step) for step in steps])
        low, high = problem.threat.bounds(self.x)
        noise = streams.normal(self.x.shape[1:]).to(self.x.dtype)
        noise = noise.reshape(len(steps), *self.x.shape)
        self.noise = (noise * (high > low)).flatten(2).transpose(0, 1)

    def adapt_sideways(self, success: Tensor, queried: Tensor) -> None:
        """Keep the success rate of orthogonal steps near a half: the boundary is nearly flat."""
        rate = self.sideways_rate.lerp(success.to(self.sideways.dtype), 1 - _DECAY)
        factor = _factor(rate, 0.2, 0.5).where(queried, torch.ones_like(rate))
        changed = factor != 1
        self.sideways_rate = torch.where(
            changed, _ORTHOGONAL_RATE, rate.where(queried, self.sideways_rate)
        )
        self.sideways = (self.sideways * factor).clamp_max(1.0)
        self.inwards = self._scaled_inwards(changed, factor)

    def adapt_inwards(self, success: Tensor) -> None:
        """Keep the success rate of whole steps near a fifth."""
        rate = self.inwards_rate.lerp(success.to(self.inwards.dtype), 1 - _DECAY)
        factor = _factor(rate, 0.1, 0.25)
        changed = factor != 1
        self.inwards_rate = rate.masked_fill(changed, _SOURCE_RATE)
        self.inwards = self._scaled_inwards(changed, factor)

    def _scaled_inwards(self, changed: Tensor, factor: Tensor) -> Tensor:
        return torch.where(changed, (self.inwards * factor).clamp_max(0.5), self.inwards)


def _factor(rate: Tensor, low: float, high: float) -> Tensor:
    """Factor of a step length: larger than 1 above a success rate, smaller below another."""
    return _FACTOR ** ((rate > high).to(rate.dtype) - (rate < low).to(rate.dtype))


def _advance(
    oracle: QueryOracle, problem: Problem, state: _BoundaryState, number: int, check: bool
) -> None:
    """One step of all samples, in place, with the noise of a number."""
    low, high = problem.threat.bounds(state.x)
    on_sphere = _orthogonal(state, state.noise[:, number]).clamp_(low, high)
    if check:
        queried = oracle.remaining(state.ids) > 1
        here = queried.nonzero()[:, 0]
        success = torch.zeros_like(queried)
        success[here] = oracle.fooled(on_sphere[here], state.ids[here])
        state.adapt_sideways(success, queried)
    share = state.inwards[:, None, None, None]
    candidates = torch.lerp(on_sphere, state.x, share).clamp_(low, high)
    success = oracle.fooled(candidates, state.ids)
    state.adapt_inwards(success)
    distance = problem.threat.distance(candidates, state.x).to(state.x.dtype)
    nearer = success & (distance < state.distance)
    state.distance = torch.where(nearer, distance, state.distance)
    state.x_adv = torch.where(nearer[:, None, None, None], candidates, state.x_adv)


def _orthogonal(state: _BoundaryState, noise: Tensor) -> Tensor:
    """A random step orthogonal to the direction of x, projected back onto the sphere.

    An orthogonal step increases the distance by a factor of sqrt(1 + step ** 2).
    """
    x, distance, step = state.x.flatten(1), state.distance[:, None], state.sideways[:, None]
    delta = state.x_adv.flatten(1) - x
    share = torch.linalg.vecdot(noise, delta)[:, None] / distance.square()
    noise = torch.addcmul(noise, delta, share, value=-1)
    length = torch.linalg.vector_norm(noise, dim=1, keepdim=True).clamp_min(1e-12)
    moved = torch.addcmul(delta, noise, step * distance / length)
    return (x + moved / (1 + step.square()).sqrt()).reshape(state.x.shape)
