"""The flip search: the best sets of flips behind exact stages, within a threat's budget."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.flips import Flips
from tempering.attacks.output_search import TENURE, LossOf, OutputSearch, SearchEffort
from tempering.core.probe import Probe


class FlipSearch(OutputSearch):
    """In L2, L1, L0 and for patches: each pixel has few outputs, and each flip its cost.

    A gradient step chooses anew the set of flips that gains most to first order. From the best
    set single pixels flip, or one in exchange for another; they may not flip back at once.

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
        return self._flips.image(self._flips.state_of(self._best))

    def _search(self, rows: Tensor, start: int, loss: LossOf) -> None:
        self._exchange(rows, self._ascend(rows, start, loss))

    def _ascend(self, rows: Tensor, start: int, loss: LossOf) -> Tensor:
        """The state of the largest margin on the way of an ascent, one for each row."""
        state = self._starting_point(rows, start)
        best, highest = state.clone(), self._margin.new_full((len(rows),), -torch.inf)
        at = torch.arange(len(rows), device=rows.device)
        for _ in range(self._effort.steps):
            flips = self._flips.part(rows[at])
            points = flips.seen(state[at])
            logits, gradient = self._gradient(points, rows[at], loss)
            self._note(self._keep(points, rows[at], logits), at, state, best, highest)
            left = self._unfinished(rows[at])
            at, gradient = at[left], gradient[left]
            if not len(at):
                return best
            state[at] = flips.part(left).best_set(gradient)
        gap = self._try(self._flips.part(rows[at]).seen(state[at]), rows[at])
        self._note(gap, at, state, best, highest)
        return best

    def _note(self, gap: Tensor, at: Tensor, state: Tensor, best: Tensor, highest: Tensor) -> None:
        """Write down the states of a larger margin than before."""
        better = gap > highest[at]
        best[at[better]], highest[at[better]] = state[at[better]], gap[better]

    def _starting_point(self, rows: Tensor, start: int) -> Tensor:
        """The clean image, or a random set of flips."""
        flips = self._flips.part(rows)
        if start == 0:
            return flips.clean.clone()
        streams = self._problem.streams[rows].derive("box", start)
        return flips.best_set(streams.normal(flips.shape).to(self._clean))

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
