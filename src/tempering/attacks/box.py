"""Box search: ascents and flips of single pixels behind the exact stages at a model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.attacks.box_search import BoxSearch
from tempering.attacks.flip_search import FlipSearch
from tempering.attacks.flips import flips_of
from tempering.attacks.output_search import OutputSearch, SearchEffort
from tempering.attacks.pgd import PGD
from tempering.attacks.restarts import Restarts
from tempering.attacks.steps import check_count
from tempering.core.errors import UsageError
from tempering.core.input_stages import InputStages
from tempering.core.probe import Probe
from tempering.core.threats import Linf, Threat


@dataclass(frozen=True)
class Box(Attack):
    """Search behind the monotone transforms at the model's input, over the outputs that they leave.

    Behind a hard threshold most pixels are decided in an L-inf ball, and the others are 0 or 1.
    Ascents move through the box of outputs by the network's own gradient; no gradient of a
    transform is guessed. After each step the nearest outputs that images of the ball have are
    tried. From the best ones single pixels flip to the other end of their interval, the one of the
    largest gain to first order at a time, and may not flip back at once (tabu search: Glover,
    1989). The first ascent is on cross-entropy, the next ones drive to the most likely other
    outputs from random points. Without such transforms the box is the ball itself. A single ascent
    without flips that no sample leaves, as in training, ends where its last step ends, and nothing
    is tried on the way.

    In L2 and L1 each flip costs the distance to the nearest value with the other output; in L0 it
    costs 1, and a patch allows those of one square. A gradient step moves halfway to the set of
    flips that gains most for the budget to first order (Frank and Wolfe, 1956). Then single pixels
    flip, or one in exchange for another. Without a staircase of at most 16 levels it is PGD in L2
    and L1; in L0 and patches pixels become black or white. In a threat of one's own it is PGD,
    unless that extends L0.

    Attributes:
        steps: Gradient steps of an ascent; in L-inf each 2.5 / steps of half a pixel's interval.
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
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0", "patch")
    any_threat: ClassVar[bool] = True
    source: ClassVar[str] = "Tempering, after Madry et al., 2018, and Glover, 1989"
    cost: ClassVar[str] = (
        "forward + starts x "
        "(steps x (2 x forward + backward) + flips x (forward + backward) + forward); in L-inf "
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
        out = torch.empty_like(problem.x)
        front = InputStages.of(probe, problem.x)
        for rows in problem.batches():
            search = self._search(probe, problem.part(rows), front)
            if search is None:
                once = PGD(self.steps, until_fooled=self.until_fooled)
                return Restarts(once, self.starts).propose(probe, problem)
            with front.skipped():
                search.run()
            out[rows] = search.images()
        return out

    def _search(self, probe: Probe, problem: Problem, front: InputStages) -> OutputSearch | None:
        """The search of the threat behind the stages; None if there is none."""
        effort = SearchEffort(self.steps, self.flips, self.starts, self.until_fooled)
        if type(problem.threat) is Linf:
            return BoxSearch(probe, problem, front, effort)
        flips = flips_of(front, problem.x, problem.threat)
        return None if flips is None else FlipSearch(probe, problem, flips, effort)

    def searches(self, front: InputStages, x: Tensor, threat: Threat) -> bool:
        """Whether there is a search of its own behind the stages; elsewhere it is PGD.

        Args:
            front: The stages at the model's input.
            x: Images, shape (n, c, h, w); the first counts.
            threat: What may change.
        """
        return type(threat) is Linf or flips_of(front, x[:1], threat) is not None

    def effort(self) -> int:
        """Gradients a sample."""
        return self.starts * (self.steps + self.flips)
