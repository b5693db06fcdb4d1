"""The flip search: the best sets of flips behind exact stages, within a threat's budget."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.flips import Flips
from tempering.attacks.output_search import TENURE, LossOf, OutputSearch, SearchEffort
from tempering.core.probe import Probe
from tempering.core.threats import L0

_STEP = 0.5
"""Share of the way to the best set of flips that a step goes."""


class FlipSearch(OutputSearch):
    """In L2, L1, L0 and for patches: each pixel has few outputs, and each flip its cost.

    A point between the outputs of such images moves halfway to those of the set of flips that
    gains most to first order (Frank and Wolfe, 1956); then the set closest to it is tried. From
    the best set single pixels flip, or one in exchange for another, and may not flip back at once.

    Args:
        probe: The model.
        problem: Samples.
        flips: What their pixels can be flipped to.
        effort: How long to search.
    """

    def __init__(self, probe: Probe, problem: Problem, flips: Flips, effort: SearchEffort) -> None:
        super().__init__(probe, problem, flips.seen(flips.clean), effort)
        self._flips = flips

    def images(self) -> Tensor:
        """Images of the ball that the stages turn into the best outputs, shape (n, c, h, w)."""
        threat, image = self._problem.threat, self._flips.image(self._flips.state_of(self._best))
        own = isinstance(threat, L0) and not threat.built_in
        return threat.project(image, self._problem.x) if own else image

    def _search(self, rows: Tensor, start: int, loss: LossOf) -> None:
        self._exchange(rows, self._ascend(rows, start, loss))

    def _ascend(self, rows: Tensor, start: int, loss: LossOf) -> Tensor:
        """The state of the largest margin on the way of an ascent, one for each row."""
        z = self._starting_point(rows, start)
        best = self._flips.clean[rows]
        highest = z.new_full((len(rows),), -torch.inf)
        at = torch.arange(len(rows), device=rows.device)
        for _ in range(self._effort.steps):
            at = at[self._unfinished(rows[at])]
            if not len(at):
                break
            now, flips = rows[at], self._flips.part(rows[at])
            _, gradient = self._gradient(z[at], now, loss)
            z[at] = torch.lerp(z[at], flips.seen(flips.best_set(gradient)), _STEP)
            state = flips.best_set(z[at] - self._clean[now])
            gap = self._try(flips.seen(state), now)
            better = gap > highest[at]
            best[at[better]], highest[at[better]] = state[better], gap[better]
        return best

    def _starting_point(self, rows: Tensor, start: int) -> Tensor:
        """The outputs of the clean image, or of a random set of flips."""
        if start == 0:
            return self._clean[rows]
        flips, streams = self._flips.part(rows), self._problem.streams[rows].derive("box", start)
        return flips.seen(flips.best_set(streams.normal(flips.shape).to(self._clean)))

    def _exchange(self, rows: Tensor, state: Tensor) -> None:
        """Flip one pixel after the other, also where that loses."""
        fixed = torch.zeros_like(state)
        at = torch.arange(len(rows), device=rows.device)
        for number in range(self._effort.flips):
            flips = self._flips.part(rows[at])
            points = flips.seen(state[at])
            logits, gradient = self._gradient(points, rows[at], self._margin_loss)
            self._keep(points, rows[at], logits)
            left = self._unfinished(rows[at])
            at, gradient = at[left], gradient[left]
            if not len(at):
                return
            moved = flips.part(left).best_move(state[at], gradient, fixed[at] > number)
            fixed[at] = torch.where(moved == state[at], fixed[at], number + 1 + TENURE)
            state[at] = moved
        if self._effort.flips:
            self._try(self._flips.part(rows[at]).seen(state[at]), rows[at])
