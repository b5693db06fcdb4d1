"""APGD's step rule in L1: sparse steps whose sparsity follows the perturbation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import AdaptiveState
from tempering.core.threats import Threat

_REVIEW = 0.04
"""Share of all steps between reviews."""
_NARROWER = 1.5
"""By how much a step is narrower than the perturbation, and shorter where that has settled."""
_SETTLED = 0.95
_SHORTEST = 10.0


@dataclass(frozen=True)
class Sparsity:
    """Sparse steps of length eps, shortened where sparsity has settled.

    Croce and Hein, 'Mind the box: l1-APGD for sparse adversarial attacks on image
    classifiers', 2021, algorithm 1. Unlike there, pixels at a bound are left out of a step: on a
    linear model they would waste it.
    """

    def begin(self, state: AdaptiveState, threat: Threat) -> None:
        """Steps of length eps, narrower than the perturbation of the initial points."""
        state.step = torch.full_like(state.step, threat.eps)
        state.spread = _changed(state.x_adv, state.x)
        state.share = state.spread / max(state.x[0].numel() if len(state) else 1, 1) / _NARROWER

    def review(self, state: AdaptiveState, gradient: Tensor, threat: Threat, steps: int) -> Tensor:
        """Follow the sparsity of the best point; shorten steps where it has settled."""
        due = (state.done > 0) & (state.done % max(int(_REVIEW * steps), 1) == 0)
        if not bool(due.any()):
            return gradient
        spread = _changed(state.best, state.x)
        sparser = spread < _SETTLED * state.spread
        shorter = (state.step / _NARROWER).clamp_min(threat.eps / _SHORTEST)
        fresh = torch.full_like(state.step, threat.eps)
        state.step = torch.where(due, torch.where(sparser, fresh, shorter), state.step)
        state.share = torch.where(due, spread / state.x[0].numel() / _NARROWER, state.share)
        state.spread = torch.where(due, spread, state.spread)
        wide = (due & sparser)[:, None, None, None]
        state.x_adv = torch.where(wide, state.best, state.x_adv)
        return torch.where(wide, state.best_gradient, gradient)

    def move(self, state: AdaptiveState, gradient: Tensor, threat: Threat) -> Tensor:
        """A step of equal changes on the steepest pixels that can move, projected exactly."""
        low, high = threat.bounds(state.x)
        free = torch.where(gradient > 0, state.x_adv < high, state.x_adv > low)
        flat = (gradient * free).flatten(1)
        size = flat.abs()
        kept = (state.share * size.shape[1]).long().clamp(1, size.shape[1])
        level = size.sort(1, descending=True).values.gather(1, kept[:, None] - 1)
        sign = flat.sign() * (size >= level)
        equal = sign / sign.abs().sum(1, keepdim=True).clamp_min(1.0) * state.step[:, None]
        return threat.project(state.x_adv + equal.reshape(state.x.shape), state.x)


def _changed(x_adv: Tensor, x: Tensor) -> Tensor:
    return (x_adv != x).flatten(1).sum(1).to(x.dtype)
