"""Search over the outputs of the stages at a model's input: what its kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.losses import margin_to
from tempering.core.goals import log_odds, margin, reached
from tempering.core.probe import Probe

TENURE = 6
"""Flips for which a flipped pixel stays as it is."""

LossOf = Callable[[Tensor, Tensor], Tensor]
"""From logits and row numbers to one number a row."""


@dataclass(frozen=True)
class SearchEffort:
    """How long a search goes on.

    Attributes:
        steps: Gradient steps of an ascent.
        flips: Flips after it.
        starts: Ascents a sample.
        until_fooled: Whether a sample leaves as soon as it is fooled.
    """

    steps: int
    flips: int
    starts: int
    until_fooled: bool

    @property
    def untried(self) -> bool:
        """Whether a search is one ascent that nothing ends, as in training."""
        return self.starts == 1 and not self.flips and not self.until_fooled


class OutputSearch(ABC):
    """The samples of a batch, and the best outputs of the stages found for each.

    Args:
        probe: The model, which is given outputs of the stages.
        problem: Samples and goal.
        clean: Outputs of the images, shape (n, c, h, w).
        effort: How long to search.
    """

    def __init__(self, probe: Probe, problem: Problem, clean: Tensor, effort: SearchEffort) -> None:
        self._probe, self._problem, self._effort = probe, problem, effort
        self._clean, self._best = clean, clean.clone()
        self._margin = clean.new_full((len(clean),), -torch.inf)
        self._fooled = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)

    def run(self) -> None:
        """Search from every start the samples that are not fooled."""
        rows = torch.arange(len(self._best), device=self._best.device)
        logits = self._probe.logits(self._clean, self._problem.streams.index)
        self._keep(self._clean, rows, logits)
        protected = self._problem.protected(logits)
        others = logits.masked_fill(protected, -torch.inf)
        targets = others.argsort(dim=1, descending=True, stable=True)
        targets = targets[:, : logits.shape[1] - int(protected.sum(1).amax())]
        for start in range(self._effort.starts):
            rows = rows[self._unfinished(rows)]
            if not len(rows):
                break
            self._search(rows, start, self._loss(start, targets))

    @abstractmethod
    def images(self) -> Tensor:
        """Images of the ball that the stages turn into the best outputs, shape (n, c, h, w)."""

    @abstractmethod
    def _search(self, rows: Tensor, start: int, loss: LossOf) -> None:
        """Search from a start, and keep what is found."""

    def _loss(self, start: int, targets: Tensor) -> LossOf:
        """Cross-entropy at first, then the margin to the most likely outputs in turn."""
        if start == 0:
            return self._cross_entropy
        target = targets[:, (start - 1) % targets.shape[1]]
        return lambda logits, rows: margin_to(
            logits, self._problem.protected(logits, rows), target[rows]
        )

    def _cross_entropy(self, logits: Tensor, rows: Tensor) -> Tensor:
        return log_odds(logits, self._problem.protected(logits, rows))

    def _margin_loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        return margin(logits, self._problem.protected(logits, rows))

    def _unfinished(self, rows: Tensor) -> Tensor:
        return ~self._fooled[rows] if self._effort.until_fooled else torch.ones_like(rows).bool()

    def _gradient(self, z: Tensor, rows: Tensor, loss: LossOf) -> tuple[Tensor, Tensor]:
        index = self._problem.streams.index[rows]
        return self._probe.gradient(z, lambda logits: loss(logits, rows), index)

    def _try(self, z: Tensor, rows: Tensor) -> Tensor:
        """Margins of attainable outputs, shape of rows; the best outputs are kept."""
        logits = self._probe.logits(z, self._problem.streams.index[rows])
        return self._keep(z, rows, logits)

    def _keep(self, z: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """Keep outputs that succeed or have a larger margin than before; their margins."""
        protected = self._problem.protected(logits, rows)
        gap, success = margin(logits, protected).to(z.dtype), reached(logits, protected)
        first = success & ~self._fooled[rows]
        better = first | (gap > self._margin[rows]) & (success | ~self._fooled[rows])
        self._best[rows[better]], self._margin[rows[better]] = z[better], gap[better]
        self._fooled[rows] |= success
        return gap
