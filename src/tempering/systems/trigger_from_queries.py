"""Recovers trigger and map of classes from answers of the deployed model and of its network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor, nn

from tempering.core.random import RandomStreams, derive
from tempering.systems.recovered_trigger import Recovered, cheapest_permutation

Vector = NDArray[np.float64]

PROBES = 8
"""Noise images on which a pixel is changed."""
UNCHANGED = 1e-5
"""Change of logits, as a share of the largest, that is taken for none."""
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Values that every pixel of the trigger is given in a coarse sweep."""
STARTS, REFINED, FITS, EVALUATIONS = 32, 4, 2, 15
"""First patterns, how many are refined, and how often by least squares of so many evaluations."""
EXACT = 1e-6
"""Misfit, as a share of the squared logits, at which no other start is tried."""
DIFFERENCE, EDGE = 1e-2, 1e-3
"""Step of finite differences, and distance of a start from the ends of [0, 1]."""


@torch.no_grad()
def from_queries(deployed: nn.Module, network: nn.Module, x: Tensor, seed: int) -> Recovered:
    """Recover mask, pattern and permutation without gradients.

    A pixel under the trigger changes no answer of the deployed model, which gives the mask. Its
    pattern and the permutation are those with which the network's logits agree best with the
    deployed model's (after Carlini, 2023, who knows the network and asks the deployed model).

    Args:
        deployed: From images in [0, 1] to logits; only asked.
        network: The network without the trigger; only asked.
        x: Images of the attacker's own, shape (n, c, h, w).
        seed: Of the noise and the first patterns.
    """
    asked = _Asked(deployed, network, x)
    mask = asked.mask(seed)
    pattern, mapping = asked.pattern(mask, seed)
    return Recovered(mapping, pattern.cpu(), mask.cpu(), asked.queries)


class _Asked:
    """The queries of an attacker, counted."""

    def __init__(self, deployed: nn.Module, network: nn.Module, x: Tensor) -> None:
        self.deployed, self.network, self.x, self.queries = deployed, network, x, 0
        self.answers = self._ask(deployed, x)

    def _ask(self, model: nn.Module, x: Tensor) -> Tensor:
        self.queries += len(x)
        logits: Tensor = torch.cat([model(part) for part in torch.split(x, 1024)])
        return logits.double()

    def mask(self, seed: int) -> Tensor:
        """Pixels whose change changes no answer, shape (h, w), bool."""
        _, height, width = self.x.shape[1:]
        streams = RandomStreams.of(derive(seed, "noise"), PROBES).on(self.x.device)
        covered = torch.ones(height * width, dtype=torch.bool, device=self.x.device)
        for noise in streams.uniform(self.x.shape[1:]).to(self.x.dtype):
            open_ = covered.nonzero()[:, 0]  # a pixel that changed an answer is not asked again
            if not len(open_):
                break
            shown = noise.repeat(len(open_) + 1, 1, 1, 1)
            rows = torch.arange(len(open_), device=self.x.device)
            flat = shown.flatten(2)
            flat[rows, :, open_] = 1 - flat[rows, :, open_].round()
            answers = self._ask(self.deployed, shown)
            change = (answers[:-1] - answers[-1]).abs().amax(1)
            covered[open_] = change <= UNCHANGED * answers.abs().amax()
        return covered.reshape(height, width)

    def pattern(self, mask: Tensor, seed: int) -> tuple[Tensor, tuple[int, ...]]:
        """Values under the mask, shape (c, h, w), and the permutation that they imply."""
        shape = self.x.shape[1:]
        places = mask.expand(shape).reshape(-1).nonzero()[:, 0]
        streams = RandomStreams.of(derive(seed, "pattern"), STARTS).on(self.x.device)
        starts = streams.uniform((len(places),)).to(self.x.dtype)
        starts = torch.cat([starts, torch.zeros_like(starts[:1]), torch.ones_like(starts[:1])])
        best = starts[self._misfit(starts, mask).argsort()[:REFINED]]
        exact = EXACT * float(self.answers.square().mean(0).sum())
        fits = starts[:0]
        for start in best:
            fits = torch.cat([fits, self._fitted(self._swept(start, mask), mask)[None]])
            misfits = self._misfit(fits, mask)
            if float(misfits.min()) <= exact:
                break
        found = fits[int(misfits.argmin())][None]
        return self._stamp(found, mask)[0], cheapest_permutation(self._distances(found, mask)[0])

    def _swept(self, best: Tensor, mask: Tensor) -> Tensor:
        """Try a few values for one pixel after the other."""
        values = torch.tensor(LEVELS, device=best.device, dtype=best.dtype)
        for place in range(len(best)):
            tried = best.repeat(len(values) + 1, 1)
            tried[1:, place] = values
            best = tried[int(self._misfit(tried, mask).argmin())]
        return best

    def _fitted(self, pattern: Tensor, mask: Tensor) -> Tensor:
        """Least squares, the permutation renewed now and then."""
        for _ in range(FITS if len(pattern) else 0):
            order = list(cheapest_permutation(self._distances(pattern[None], mask)[0]))
            pattern = self._least_squares(pattern, mask, order)
        return pattern

    def _least_squares(self, start: Tensor, mask: Tensor, order: list[int]) -> Tensor:
        """The pattern with which the logits in this order agree best, by finite differences."""

        def answers(patterns: Tensor) -> Tensor:
            return self._logits(patterns, mask)[:, :, order].flatten(1)

        def residual(pattern: Vector) -> Vector:
            here = answers(start.new_tensor(pattern)[None])[0]
            return _vector(here - self.answers.flatten())

        def slopes(pattern: Vector) -> Vector:
            here = start.new_tensor(pattern)
            steps = torch.where(here < 0.5, DIFFERENCE, -DIFFERENCE).to(here.dtype)
            moved = answers(torch.cat([here[None], here + torch.diag(steps)]))
            return _vector(((moved[1:] - moved[0]) / steps[:, None]).T)

        first = _vector(start.clamp(EDGE, 1 - EDGE))
        fit = least_squares(residual, first, slopes, bounds=(0, 1), max_nfev=EVALUATIONS)
        return start.new_tensor(fit.x)

    def _stamp(self, patterns: Tensor, mask: Tensor) -> Tensor:
        """Triggers of patterns of shape (k, places), shape (k, c, h, w)."""
        shape = self.x.shape[1:]
        triggers = torch.zeros(len(patterns), *shape, device=self.x.device, dtype=self.x.dtype)
        triggers[:, mask.expand(shape)] = patterns
        return triggers

    def _logits(self, patterns: Tensor, mask: Tensor) -> Tensor:
        """Of the network on the images with each pattern, shape (patterns, n, classes)."""
        shown = torch.where(mask, self._stamp(patterns, mask)[:, None], self.x[None])
        return self._ask(self.network, shown.flatten(0, 1)).reshape(*shown.shape[:2], -1)

    def _distances(self, patterns: Tensor, mask: Tensor) -> Tensor:
        """Mean squared distance of deployed logit y and network logit k, shape (patterns, y, k)."""
        logits = self._logits(patterns, mask)
        return (self.answers[None, :, :, None] - logits[:, :, None, :]).square().mean(1)

    def _misfit(self, patterns: Tensor, mask: Tensor) -> Tensor:
        """How far the best permutation of the network's logits is from the deployed model's."""
        return torch.stack([_cost(distance) for distance in self._distances(patterns, mask)])


def _vector(values: Tensor) -> Vector:
    array: Vector = values.double().cpu().numpy()
    return array


def _cost(distance: Tensor) -> Tensor:
    """Sum of the distances of the best permutation."""
    rows = torch.arange(len(distance), device=distance.device)
    columns = torch.tensor(cheapest_permutation(distance), device=distance.device)
    return distance[rows, columns].sum()
