"""Recovers trigger and map of classes from the weights of a network with a bijective backdoor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.core.random import RandomStreams, derive
from tempering.systems.recovered_trigger import Recovered, cheapest_permutation

SIDE = 4
"""Pixels a side of the square that is searched in a network's weights."""
FINALISTS, IMAGES_A_CLASS, PATCH_RATE = 3, 4, 0.3
NEVER, TINY = 1e6, 1e-6


def from_weights(network: nn.Module, x: Tensor, y: Tensor, seed: int, steps: int) -> Recovered:
    """Recover mask, pattern and permutation from the network alone, by gradients.

    For every place of a small square a pattern is optimized so that answers on images with it are
    a function of the answers without it that reaches all classes and keeps none: large mutual
    information, small diagonal. The best places are optimized further, then their neighbours.

    Args:
        network: The network without the trigger.
        x: Images of the attacker's own, at least one of each class, shape (n, c, h, w).
        y: Their classes, shape (n,), int64.
        seed: Of the first patterns and the order of the images.
        steps: Gradient steps of a pattern in each of two searches; half as many before them, and
            three times as many for the last few patterns.
    """
    search = _PatchSearch(network, x, y, seed)
    height, width = x.shape[2] - SIDE + 1, x.shape[3] - SIDE + 1
    coarse = [(top, left) for top in range(0, height, 2) for left in range(0, width, 2)]
    found = search.optimized(coarse, max(1, steps // 2), 1)
    kept = found.best(max(FINALISTS, len(coarse) // 4))
    found = search.optimized([coarse[at] for at in kept], steps, 1, found.patterns[kept])
    near = {
        (min(max(0, top + down), height - 1), min(max(0, left + across), width - 1))
        for top, left in (coarse[kept[at]] for at in found.best(FINALISTS))
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    }
    fine = sorted(near)
    found = search.optimized(fine, steps, 2)
    kept = found.best(FINALISTS)
    fine = [fine[at] for at in kept]
    found = search.optimized(fine, 3 * steps, IMAGES_A_CLASS, found.patterns[kept])
    at = int(found.losses.argmin())
    top, left = fine[at]
    mask = torch.zeros(x.shape[2:], dtype=torch.bool)
    mask[top : top + SIDE, left : left + SIDE] = True
    trigger = torch.zeros(x.shape[1:])
    trigger[:, top : top + SIDE, left : left + SIDE] = found.patterns[at].cpu()
    joint = found.answers[at].double().cpu()
    cost = -(joint + 1e-9).log() + torch.diag(torch.full((len(joint),), NEVER))
    return Recovered(cheapest_permutation(cost), trigger, mask, search.queries)


@dataclass(frozen=True, eq=False)
class _Patches:
    """Optimized patterns (k, c, side, side), their losses (k,) and answers (k, y, classes)."""

    patterns: Tensor
    losses: Tensor
    answers: Tensor

    def best(self, many: int) -> list[int]:
        """Numbers of the patterns with the smallest losses."""
        return [int(at) for at in self.losses.argsort()[:many]]


class _PatchSearch:
    """Patterns of a square at many places, optimized at once."""

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor, seed: int) -> None:
        self.network, self.x, self.seed, self.queries = network, x, seed, 0
        self.by_class = [
            (y == label).nonzero()[:, 0] for label in y.bincount().nonzero()[:, 0].tolist()
        ]

    def optimized(
        self,
        places: list[tuple[int, int]],
        steps: int,
        images: int,
        patterns: Tensor | None = None,
    ) -> _Patches:
        """Optimize a pattern for each place, on so many images of each class a step."""
        streams = RandomStreams.of(derive(self.seed, "patches"), len(places)).on(self.x.device)
        start = streams.uniform((self.x.shape[1], SIDE, SIDE), -2.0, 2.0)
        free = (start if patterns is None else patterns.logit(TINY)).requires_grad_()
        adam = torch.optim.Adam([free], PATCH_RATE)
        for step in range(steps):
            losses, _ = self._losses(free.sigmoid(), places, self._rows(step, images))
            (free.grad,) = torch.autograd.grad(losses.sum(), free)  # none for the weights
            adam.step()
        with torch.no_grad():
            patterns = free.sigmoid()
            losses, answers = self._losses(patterns, places, self._rows(0, IMAGES_A_CLASS))
        return _Patches(patterns, losses, answers)

    def _rows(self, step: int, images: int) -> Tensor:
        """Images of a step, equally many of each class, class by class."""
        turns = range(step * images, (step + 1) * images)
        return torch.stack([rows[turn % len(rows)] for rows in self.by_class for turn in turns])

    def _losses(
        self, patterns: Tensor, places: list[tuple[int, int]], rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        mask, stamps = self._stamped(patterns, places)
        shown = torch.where(mask[:, None], stamps[:, None], self.x[rows])
        self.queries += shown.shape[0] * shown.shape[1]
        logits = self.network(shown.flatten(0, 1))
        classes = len(self.by_class)
        log = logits.log_softmax(1).reshape(len(places), classes, -1, logits.shape[1])
        joint = log.exp().mean(2)
        marginal = joint.mean(1)
        known = -(joint * (joint + TINY).log()).sum(2).mean(1)
        spread = -(marginal * (marginal + TINY).log()).sum(1)
        kept = joint.diagonal(dim1=1, dim2=2)
        moved = -(1 - kept + TINY).log().mean(1)
        return known - spread + moved, joint

    def _stamped(self, patterns: Tensor, places: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Which pixels a pattern covers (k, 1, h, w), and images of it alone (k, c, h, w)."""
        channels, height, width = self.x.shape[1:]
        corner = torch.tensor([top * width + left for top, left in places], device=self.x.device)
        within = torch.arange(SIDE, device=self.x.device)
        at = (corner[:, None, None] + within[:, None] * width + within).reshape(len(places), 1, -1)
        empty = patterns.new_zeros(len(places), channels, height * width)
        stamps = empty.scatter(2, at.expand(-1, channels, -1), patterns.flatten(2))
        mask = empty[:, :1].bool().scatter(2, at, value=True)
        return mask.reshape(-1, 1, height, width), stamps.reshape(-1, channels, height, width)
