"""Branch and bound on the signs of ReLUs."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.certification.alpha_crown import AlphaCrown
from tempering.certification.margins import MarginBatch
from tempering.certification.subdomains import Subdomain, SubdomainBounds
from tempering.core.errors import UsageError

_BATCH = 64
"""Subdomains of a sample that are bounded in a round: the same whatever else is in the batch."""

Find = Callable[[int, Tensor], Tensor | None]
"""From a sample and images, shape (m, c, h, w), to a misclassified image near it, or None."""


@dataclass(frozen=True)
class Branching:
    """Settings of branch and bound.

    Attributes:
        nodes: Domains that are bounded for a sample at most.
        seconds: For a sample at most; None for no limit, so that results depend on no clock.
        steps: Of Adam for each domain.
        rate: Length of its first step.

    Raises:
        UsageError: If a number is not positive.
    """

    nodes: int = 200
    seconds: float | None = None
    steps: int = 20
    rate: float = 0.3

    def __post_init__(self) -> None:
        if self.nodes < 1 or (self.seconds is not None and not self.seconds > 0):
            raise UsageError(
                f"branching with {self.nodes} nodes and {self.seconds} seconds: "
                "give at least 1 node, and more than 0 seconds or None"
            )
        AlphaCrown(self.steps, self.rate)


@dataclass(eq=False)
class _Search:
    """The subdomains of one sample.

    Attributes:
        nodes: Subdomains that may still be bounded.
        seconds: Its share of the time so far.
        proven: Margin -> the least bound of subdomains that are settled.
        heap: Open subdomains, those with the least bound first.
        waiting: Those that are bounded next.
    """

    nodes: int
    seconds: float = 0.0
    proven: dict[int, float] = field(default_factory=dict)
    heap: list[tuple[float, int, Subdomain]] = field(default_factory=list)
    waiting: list[Subdomain] = field(default_factory=list)
    entered: int = 0

    def enter(self, domains: list[Subdomain]) -> None:
        """Sort subdomains that were bounded."""
        self.nodes -= len(domains)
        for domain in domains:
            self.entered += 1
            if domain.bound > 0:
                before = self.proven.get(domain.margin, float("inf"))
                self.proven[domain.margin] = min(before, domain.bound)
            else:
                heapq.heappush(self.heap, (domain.bound, self.entered, domain))

    def bounds(self) -> dict[int, float]:
        """Margin -> its lower bound."""
        bounds = dict(self.proven)
        for bound, _, domain in self.heap:
            bounds[domain.margin] = min(bound, bounds.get(domain.margin, float("inf")))
        return bounds

    def advance(self) -> None:
        """Split the subdomains with the least bounds; none wait if the search is over."""
        self.waiting = []
        size = min(_BATCH, self.nodes)
        if not self.heap or self.heap[0][2].split is None or size < 1:
            return
        while self.heap and self.heap[0][2].split is not None:
            self.waiting += heapq.heappop(self.heap)[2].halves()
            if len(self.waiting) + 2 > size:
                break


@dataclass(frozen=True, eq=False)
class BranchAndBound:
    """Branch and bound for the margins of many samples (Bunel et al., 2020).

    A margin is bounded on all images; where the bound is not positive, the ReLU that seems to
    cost most is split in two: its input is at least 0, or at most 0. Each half is bounded
    again. A margin is proven when no half is left. In each round, subdomains of all samples
    are bounded in common passes.

    Attributes:
        case: The margins, with intervals of hidden neurons; those that are open are improved.
        settings: How long.
        find: Looks for a counterexample.
        until: Time of the monotonic clock at which to stop.
    """

    case: MarginBatch
    settings: Branching
    find: Find
    until: float

    def run(self) -> dict[int, Tensor]:
        """Search all samples.

        Returns:
            Sample -> an image that fools, if one was met.
        """
        bounding = SubdomainBounds(self.case, AlphaCrown(self.settings.steps, self.settings.rate))
        searches: dict[int, _Search] = {}
        for margin in self.case.open().tolist():
            domain = bounding.whole(margin)
            search = searches.setdefault(domain.sample, _Search(self.settings.nodes))
            search.waiting.append(domain)
        fooled: dict[int, Tensor] = {}
        while searches and time.monotonic() < self.until:
            images = self._bound(bounding, searches)
            for sample, search in list(searches.items()):
                if self._over(sample, search, images.get(sample), fooled):
                    del searches[sample]
        return fooled

    def _bound(
        self, bounding: SubdomainBounds, searches: dict[int, _Search]
    ) -> dict[int, list[Tensor]]:
        """Bound what waits; returns the least images of what is open, by sample."""
        waiting = [domain for search in searches.values() for domain in search.waiting]
        size = bounding.at_a_time()
        images: dict[int, list[Tensor]] = {}
        for start in range(0, len(waiting), size):
            if time.monotonic() > self.until:
                break
            part, began = waiting[start : start + size], time.monotonic()
            for domain, image in zip(part, bounding.bound(part), strict=True):
                if domain.bound <= 0:
                    images.setdefault(domain.sample, []).append(image)
            share = (time.monotonic() - began) / len(part)
            for domain in part:
                searches[domain.sample].seconds += share
        return images

    def _over(
        self,
        sample: int,
        search: _Search,
        images: list[Tensor] | None,
        fooled: dict[int, Tensor],
    ) -> bool:
        """Enter what was bounded of a sample, and choose what is next; whether it is over."""
        search.enter(search.waiting)
        found = None if images is None else self.find(sample, torch.stack(images))
        for margin, bound in search.bounds().items():
            at = torch.tensor([margin], device=self.case.best.device)
            self.case.improve(at, self.case.best.new_tensor([bound]))
        if found is not None:
            fooled[sample] = found
            return True
        search.advance()
        limit = self.settings.seconds
        late = limit is not None and search.seconds > limit
        return late or not search.waiting or bool(self.case.margin()[sample] > 0)
