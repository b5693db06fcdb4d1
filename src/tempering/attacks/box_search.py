"""The box search: ascents and flips of single pixels in the box behind exact stages."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.output_search import TENURE, LossOf, OutputSearch, SearchEffort
from tempering.attacks.steps import REACH
from tempering.core.input_stages import InputStages
from tempering.core.probe import Probe


class BoxSearch(OutputSearch):
    """In L-inf: each pixel moves in an interval of its own.

    Args:
        probe: The model.
        problem: Samples of an L-inf ball.
        front: The stages at the model's input.
        effort: How long to search.
    """

    def __init__(
        self, probe: Probe, problem: Problem, front: InputStages, effort: SearchEffort
    ) -> None:
        threat, x = problem.threat, problem.x
        super().__init__(probe, problem, front(x), effort)
        self._front = front
        self._ends = threat.project(torch.zeros_like(x), x), threat.project(torch.ones_like(x), x)
        self._low, self._high = (front(end) for end in self._ends)

    def run(self) -> None:
        """All ascents and flips; one ascent alone that nothing ends is not tried on its way."""
        if not self._effort.untried:
            super().run()
            return
        rows = torch.arange(len(self._best), device=self._best.device)
        self._best = self._attainable(self._ascended(rows), rows)

    def images(self) -> Tensor:
        """Images of the ball that the stages turn into the best outputs, shape (n, c, h, w)."""
        threat, x = self._problem.threat, self._problem.x
        found = self._front.nearest(self._best, *self._ends)
        return threat.project(torch.where(self._clean == self._best, x, found), x)

    def _search(self, rows: Tensor, start: int, loss: LossOf) -> None:
        self._flip(rows, self._ascend(rows, start, loss))

    def _ascend(self, rows: Tensor, start: int, loss: LossOf) -> Tensor:
        """Attainable outputs of the largest margin on the way of an ascent, one for each row."""
        z = self._starting_point(rows, start)
        best = self._clean[rows].clone()
        highest = z.new_full((len(rows),), -torch.inf)
        at = torch.arange(len(rows), device=rows.device)
        for _ in range(self._effort.steps):
            at = at[self._unfinished(rows[at])]
            if not len(at):
                break
            now = rows[at]
            z[at] = self._step(z[at], now, loss)
            made = self._attainable(z[at], now)
            gap = self._try(made, now)
            better = gap > highest[at]
            best[at[better]], highest[at[better]] = made[better], gap[better]
        return best

    def _ascended(self, rows: Tensor) -> Tensor:
        """The ends of ascents on cross-entropy, wherever they lie in the box."""
        z, loss = self._starting_point(rows, 0), self._cross_entropy
        for _ in range(self._effort.steps):
            z = self._step(z, rows, loss)
        return z

    def _step(self, z: Tensor, rows: Tensor, loss: LossOf) -> Tensor:
        """A step of fixed length in each pixel's interval."""
        _, gradient = self._gradient(z, rows, loss)
        low, high = self._low[rows], self._high[rows]
        length = REACH / self._effort.steps / 2
        return (z + length * (high - low) * gradient.sign()).clamp(low, high)

    def _starting_point(self, rows: Tensor, start: int) -> Tensor:
        low, width = self._low[rows], self._high[rows] - self._low[rows]
        if start == 0:
            return low + width / 2
        streams = self._problem.streams[rows].derive("box", start)
        return low + width * streams.uniform(low.shape[1:]).to(low)

    def _flip(self, rows: Tensor, z: Tensor) -> None:
        """Flip one pixel after the other, also where that loses."""
        fixed = torch.zeros_like(z, dtype=torch.int64).flatten(1)
        at = torch.arange(len(rows), device=rows.device)
        for number in range(self._effort.flips):
            points = z[at]
            logits, gradient = self._gradient(points, rows[at], self._margin_loss)
            self._keep(points, rows[at], logits)
            left = self._unfinished(rows[at])
            at, points, gradient = at[left], points[left], gradient[left]
            if not len(at):
                return
            low, high = self._low[rows[at]], self._high[rows[at]]
            up = (gradient > 0) & (points < high) | (points == low)
            end = torch.where(up, high, low)
            gain = ((end - points) * gradient).flatten(1)
            barred = (fixed[at] > number) | (low == high).flatten(1)
            pixel = gain.masked_fill(barred, -torch.inf).argmax(1, keepdim=True)
            moved = points.flatten(1).scatter(1, pixel, end.flatten(1).gather(1, pixel))
            fixed[at] = fixed[at].scatter(1, pixel, number + 1 + TENURE)
            z[at] = moved.reshape(points.shape)
        if self._effort.flips:
            self._try(z[at], rows[at])

    def _attainable(self, z: Tensor, rows: Tensor) -> Tensor:
        """The outputs closest to given ones that images of the ball have."""
        return self._front(self._front.nearest(z, self._ends[0][rows], self._ends[1][rows]))
