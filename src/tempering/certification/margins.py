"""Margins of samples, with the best lower bound of each so far."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.certification.graph import Graph
from tempering.certification.interval import StepBounds
from tempering.certification.region import Region


@dataclass(eq=False)
class MarginBatch:
    """Margins of some samples.

    A margin is a protected output less an unprotected one. A sample is certified if one of
    its protected outputs has positive bounds against every unprotected one. That suffices,
    and is not necessary: with several protected outputs, different ones may win on
    different images.

    Attributes:
        graph: The network.
        region: What goes in, a row a sample.
        protected: Outputs that the defender wants to win, shape (n, outputs), bool.
        rows: The sample of each margin, shape (m,), int64.
        winner: Its protected output, shape (m,), int64.
        rival: Its unprotected output, shape (m,), int64.
        best: The largest lower bound of each margin so far, shape (m,), float64.
        bounds: The tightest intervals so far; None before the first.
        sharp: Whether `bounds` hold what CROWN says of hidden neurons.
    """

    graph: Graph
    region: Region
    protected: Tensor
    rows: Tensor
    winner: Tensor
    rival: Tensor
    best: Tensor
    bounds: StepBounds | None = None
    sharp: bool = False

    @classmethod
    def of(cls, graph: Graph, region: Region, protected: Tensor) -> MarginBatch:
        """All margins of some samples, without bounds yet."""
        pairs = protected[:, :, None] & ~protected[:, None, :]
        rows, winner, rival = pairs.nonzero(as_tuple=True)
        best = torch.full((len(rows),), -torch.inf, dtype=torch.float64, device=rows.device)
        return cls(graph, region, protected, rows, winner, rival, best)

    def margin(self) -> Tensor:
        """A lower bound of each sample's margin, shape (n,): above 0 it is certified."""
        outputs = self.protected.shape[1]
        least = self.best.new_full((self.protected.numel(),), torch.inf)
        least = least.scatter_reduce(0, self.rows * outputs + self.winner, self.best, "amin")
        least = least.reshape(self.protected.shape).masked_fill(~self.protected, -torch.inf)
        return least.amax(1)

    def open(self) -> Tensor:
        """Margins that are not positive yet, of samples that are not certified, shape (k,)."""
        undecided = self.margin() <= 0
        return (undecided[self.rows] & (self.best <= 0)).nonzero()[:, 0]

    def coefficients(self, margins: Tensor) -> Tensor:
        """Margins as coefficients of the logits, shape (k, outputs)."""
        a = self.best.new_zeros(len(margins), self.protected.shape[1])
        a = a.scatter(1, self.winner[margins, None], 1.0)
        return a.scatter(1, self.rival[margins, None], -1.0)

    def improve(self, margins: Tensor, bound: Tensor) -> None:
        """Keep the larger of old and new bounds."""
        self.best[margins] = torch.maximum(self.best[margins], bound)

    def part(self, samples: Tensor) -> MarginBatch:
        """A subset of the samples, in ascending order."""
        place = torch.full((len(self.protected),), -1, device=samples.device)
        place[samples] = torch.arange(len(samples), device=samples.device)
        own = place[self.rows] >= 0
        return MarginBatch(
            self.graph,
            self.region.part(samples),
            self.protected[samples],
            place[self.rows[own]],
            self.winner[own],
            self.rival[own],
            self.best[own],
            None if self.bounds is None else self.bounds.part(samples),
            self.sharp,
        )

    def take(self, samples: Tensor, part: MarginBatch) -> None:
        """Take over what was found for a subset of the samples (see `part`)."""
        own = torch.isin(self.rows, samples)
        self.best[own] = torch.maximum(self.best[own], part.best)
        if self.bounds is not None and part.bounds is not None:
            self.bounds = self.bounds.replaced(samples, part.bounds)
