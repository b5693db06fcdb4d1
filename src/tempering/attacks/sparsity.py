"""APGD's steps in L1: on as many pixels as the perturbation needs, and fewer as it settles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import Trail
from tempering.core.threats import Threat

_FIRST_SHARE = 0.2
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
    classifiers', 2021, algorithm 1. Pixels that the box holds take no part in a step.

    Attributes:
        warm: Whether climbs begin where others ended.
    """

    warm: bool

    def begin(self, trail: Trail, threat: Threat) -> None:
        """Steps on a fifth of the pixels, or, warm, on as many as the perturbation tells."""
        pixels = trail.x[0].numel() if len(trail) else 1
        trail.step = torch.full_like(trail.step, threat.eps)
        if self.warm:
            trail.spread = _changed(trail.x_adv, trail.x)
            trail.share = trail.spread / pixels / _NARROWER
        else:
            trail.spread = torch.full_like(trail.step, pixels)
            trail.share = torch.full_like(trail.step, _FIRST_SHARE)

    def review(self, trail: Trail, gradient: Tensor, threat: Threat, steps: int) -> Tensor:
        """Follow the sparsity of the best point; shorten steps where it has settled."""
        due = (trail.done > 0) & (trail.done % max(int(_REVIEW * steps), 1) == 0)
        if not bool(due.any()):
            return gradient
        spread = _changed(trail.best, trail.x)
        sparser = spread < _SETTLED * trail.spread
        shorter = (trail.step / _NARROWER).clamp_min(threat.eps / _SHORTEST)
        fresh = torch.full_like(trail.step, threat.eps)
        trail.step = torch.where(due, torch.where(sparser, fresh, shorter), trail.step)
        trail.share = torch.where(due, spread / trail.x[0].numel() / _NARROWER, trail.share)
        trail.spread = torch.where(due, spread, trail.spread)
        wide = (due & sparser)[:, None, None, None]
        trail.x_adv = torch.where(wide, trail.best, trail.x_adv)
        return torch.where(wide, trail.best_gradient, gradient)

    def move(self, trail: Trail, gradient: Tensor, threat: Threat) -> Tensor:
        """A step of equal changes on the steepest pixels that can move, projected exactly."""
        free = torch.where(gradient > 0, trail.x_adv < 1, trail.x_adv > 0)
        flat = (gradient * free).flatten(1)
        size = flat.abs()
        kept = (trail.share * size.shape[1]).long().clamp(1, size.shape[1])
        level = size.sort(1, descending=True).values.gather(1, kept[:, None] - 1)
        sign = flat.sign() * (size >= level)
        equal = sign / sign.abs().sum(1, keepdim=True).clamp_min(1.0) * trail.step[:, None]
        return threat.project(trail.x_adv + equal.reshape(trail.x.shape), trail.x)


def _changed(x_adv: Tensor, x: Tensor) -> Tensor:
    return (x_adv != x).flatten(1).sum(1).to(x.dtype)
