"""Box search: ascents and flips of single pixels behind the exact stages at a model's input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.attacks.losses import margin_to
from tempering.attacks.pgd import PGD
from tempering.attacks.restarts import Restarts
from tempering.attacks.steps import REACH, check_count
from tempering.core.errors import UsageError
from tempering.core.goals import log_odds, margin, reached
from tempering.core.input_stages import InputStages
from tempering.core.probe import Probe
from tempering.core.threats import Linf

_TENURE = 6
"""Flips for which a flipped pixel stays as it is."""

LossOf = Callable[[Tensor, Tensor], Tensor]
"""From logits and row numbers to one number a row."""


@dataclass(frozen=True)
class Box(Attack):
    """Search behind the monotone transforms at the model's input, in the box that they leave.

    Behind a hard threshold most pixels are decided, and the others are 0 or 1. Ascents move
    through the box by the network's own gradient; no gradient of a transform is guessed. After
    each step the nearest outputs that images of the ball have are tried. From the best ones
    single pixels flip to the other end of their interval, the one of the largest gain to first
    order at a time, and may not flip back at once (tabu search: Glover, 1989). The first ascent
    is on cross-entropy from the middle of the box, the next ones drive to the most likely other
    outputs from random points. Without such transforms the box is the ball itself. Threats other
    than L-inf leave no box: there it is PGD. A single ascent without flips that no sample leaves,
    as in training, ends where its last step ends, and nothing is tried on the way.

    Attributes:
        steps: Gradient steps of an ascent, each 2.5 / steps of half of a pixel's interval.
        flips: Flips after each ascent; 0 for none.
        starts: Ascents a sample.
        until_fooled: Whether a sample leaves as soon as it is fooled.

    Raises:
        UsageError: If a number is out of range.

    Example:
        >>> Box(starts=2).label(), Box(starts=2).effort()
        ('box-10', 40)
    """

    name: ClassVar[str] = "box"
    norms: ClassVar[tuple[str, ...]] = PGD.norms
    any_threat: ClassVar[bool] = True
    source: ClassVar[str] = "Tempering, after Madry et al., 2018, and Glover, 1989"
    cost: ClassVar[str] = (
        "starts x (steps x (2 x forward + backward) + flips x (forward + backward) + forward); "
        "one ascent with flips=0,until_fooled=false: steps x (forward + backward)"
    )

    steps: int = 10
    flips: int = 10
    starts: int = 3
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_count(self.name, "steps", self.steps)
        check_count(self.name, "starts", self.starts)
        if not isinstance(self.flips, int) or self.flips < 0:
            raise UsageError(f"box: flips = {self.flips}: give a whole number of at least 0")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The images of the largest margin found, or the first that succeeded."""
        if type(problem.threat) is not Linf:
            once = PGD(self.steps, until_fooled=self.until_fooled)
            return Restarts(once, self.starts).propose(probe, problem)
        front = InputStages.of(probe, problem.x)
        out = torch.empty_like(problem.x)
        for rows in problem.batches():
            search = _Search(self, probe, problem.part(rows), front)
            with front.skipped():
                search.run()
            out[rows] = search.images()
        return out

    @property
    def untried(self) -> bool:
        """Whether the end of the only ascent is taken as it is."""
        return self.starts == 1 and not self.flips and not self.until_fooled

    def effort(self) -> int:
        """Gradients a sample."""
        return self.starts * (self.steps + self.flips)


class _Search:
    """The samples of a batch, and the best outputs of the stages found for each."""

    def __init__(self, attack: Box, probe: Probe, problem: Problem, front: InputStages) -> None:
        self._attack, self._probe, self._problem, self._front = attack, probe, problem, front
        threat, x = problem.threat, problem.x
        self._ends = threat.project(torch.zeros_like(x), x), threat.project(torch.ones_like(x), x)
        self._low, self._high = (front(end) for end in self._ends)
        self._clean = front(x)
        self._best = self._clean.clone()
        self._margin = x.new_full((len(x),), -torch.inf)
        self._fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def run(self) -> None:
        """All ascents and flips of the samples that are not fooled."""
        rows = torch.arange(len(self._best), device=self._best.device)
        if self._attack.untried:
            self._best = self._ascend(rows, 0, self._cross_entropy)
            return
        logits = self._probe.logits(self._clean, self._problem.streams.index)
        self._keep(self._clean, rows, logits)
        protected = self._problem.protected(logits)
        others = logits.masked_fill(protected, -torch.inf)
        targets = others.argsort(dim=1, descending=True, stable=True)
        targets = targets[:, : logits.shape[1] - int(protected.sum(1).amax())]
        for start in range(self._attack.starts):
            rows = rows[self._unfinished(rows)]
            if not len(rows):
                break
            self._flip(rows, self._ascend(rows, start, self._loss(start, targets)))

    def images(self) -> Tensor:
        """Images of the ball that the stages turn into the best outputs, shape (n, c, h, w)."""
        threat, x = self._problem.threat, self._problem.x
        found = self._front.nearest(self._best, *self._ends)
        return threat.project(torch.where(self._clean == self._best, x, found), x)

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

    def _ascend(self, rows: Tensor, start: int, loss: LossOf) -> Tensor:
        """Attainable outputs of the largest margin on the way of an ascent, one for each row.

        Where none is tried, those that are closest to the end of the ascent.
        """
        z = self._starting_point(rows, start)
        best = self._clean[rows].clone()
        highest = z.new_full((len(rows),), -torch.inf)
        length = REACH / self._attack.steps / 2
        at = torch.arange(len(rows), device=rows.device)
        for _ in range(self._attack.steps):
            at = at[self._unfinished(rows[at])]
            if not len(at):
                break
            now = rows[at]
            _, gradient = self._gradient(z[at], now, loss)
            low, high = self._low[now], self._high[now]
            z[at] = (z[at] + length * (high - low) * gradient.sign()).clamp(low, high)
            if self._attack.untried:
                continue
            made = self._attainable(z[at], now)
            gap = self._try(made, now)
            better = gap > highest[at]
            best[at[better]], highest[at[better]] = made[better], gap[better]
        return self._attainable(z, rows) if self._attack.untried else best

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
        for number in range(self._attack.flips):
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
            fixed[at] = fixed[at].scatter(1, pixel, number + 1 + _TENURE)
            z[at] = moved.reshape(points.shape)
        if self._attack.flips:
            self._try(z[at], rows[at])

    def _margin_loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        return margin(logits, self._problem.protected(logits, rows))

    def _unfinished(self, rows: Tensor) -> Tensor:
        return ~self._fooled[rows] if self._attack.until_fooled else torch.ones_like(rows).bool()

    def _attainable(self, z: Tensor, rows: Tensor) -> Tensor:
        """The outputs closest to given ones that images of the ball have."""
        return self._front(self._front.nearest(z, self._ends[0][rows], self._ends[1][rows]))

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
