"""Regions behind the first stages of a network, where these work pixel by pixel.

A contrast squeeze, a rounding or a hard threshold in front maps each pixel by itself. What it
makes of a box is a box, of decided and undecided pixels, and of at most k changed pixels it makes
at most k changed numbers. So the rest of the network is bounded over that set, which is exact, and
bounds of its first layer are exact too: no relaxation of the stage.

Behind a hard threshold an L2 or L1 ball becomes a set of flips: each undecided pixel flips at a
cost, its (squared) distance to the threshold, and costs add up to the (squared) radius. Bounds over
it are those of the fractional knapsack: they are off by at most part of one flip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from tempering.certification.affine_operations import ScaleShift
from tempering.certification.graph import Graph, GraphStep
from tempering.certification.interval import refuse_overflow
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.region import Region
from tempering.certification.staircases import Staircase
from tempering.core.threats import Threat

_BEYOND = 1e-6
"""How far across a threshold an image is put that shall flip."""


@dataclass(frozen=True, eq=False)
class Reduction:
    """A network, cut behind its first stages for a threat.

    Attributes:
        graph: What is left of the network.
        threat: What may change.
        stages: Steps that were cut off, in order, without the images.
        cast: Relative rounding of images to the network's type.
    """

    graph: Graph
    threat: Threat
    stages: tuple[GraphStep, ...]
    cast: float

    @classmethod
    def of(cls, graph: Graph, threat: Threat) -> Reduction:
        """Cut a network where that is exact; else the whole of it is left.

        Args:
            graph: The network.
            threat: A ball of one of `region.NORMS`, or a patch.
        """
        count = _stages(graph)
        steps = graph.steps[1 : count + 1]
        hard = bool(steps) and isinstance(steps[0].operation, Staircase)
        flips = hard and getattr(steps[0].operation, "edges", None) is not None
        if not count or (threat.name in ("l2", "l1") and not flips):
            return cls(graph, threat, (), graph.cast)
        first = GraphStep(steps[-1].name, None, (), steps[-1].shape)
        rest = [
            replace(step, sources=tuple(source - count for source in step.sources))
            for step in graph.steps[count + 1 :]
        ]
        return cls(Graph((first, *rest), 0.0, graph.precision), threat, steps, graph.cast)

    def region(self, x: Tensor) -> Region:
        """The region of some images, for `graph`.

        Args:
            x: Images, shape (n, c, h, w).
        """
        return self.behind(Region.around(x, self.threat))

    def behind(self, region: Region) -> Region:
        """What the stages make of a region of images."""
        if not self.stages:
            return region
        box, centre = self._through(region.box), self._through(region.middle)
        centre = centre.within(box)
        if region.norm in ("linf", "l0"):
            return replace(region, box=box, centre=centre, ends=region.box)
        operation = self.stages[0].operation
        if not isinstance(operation, Staircase) or operation.edges is None:
            raise TypeError(f"step {self.stages[0].name} is no hard threshold")
        below, above = operation.edges
        error = self.cast * region.box.size()
        down = (region.x - above - error).clamp_min(0.0)
        up = (below - region.x - error).clamp_min(0.0)
        ends = IntervalTensor(below - _BEYOND + 0 * down, above + _BEYOND + 0 * up)
        power = 2 if region.norm == "l2" else 1
        # costs and their sum are rounded: the budget covers it
        return Region(
            "cost",
            region.x,
            region.radius**power * (1 + 1e-9),
            box,
            centre,
            IntervalTensor(down**power, up**power),
            ends,
        )

    def _through(self, given: IntervalTensor) -> IntervalTensor:
        given = given.widened(self.cast * given.size())
        for step in self.stages:
            if step.operation is not None:
                given, error = step.operation.interval([given])
                given = given.widened(error)
                refuse_overflow(self.graph.precision, step, given, error)
        return given


def _stages(graph: Graph) -> int:
    """First steps that work pixel by pixel; 0 if none of them is nonlinear."""
    users: dict[int, int] = {}
    for step in graph.steps:
        for source in step.sources:
            users[source] = users.get(source, 0) + 1
    count = 0
    while count + 2 < len(graph.steps) and users.get(count) == 1:
        step = graph.steps[count + 1]
        if step.sources != (count,) or step.shape != graph.steps[0].shape or not _grows(step):
            break
        count += 1
    steps = graph.steps[1 : count + 1]
    return count if _nonlinear(steps) else 0


def _grows(step: GraphStep) -> bool:
    operation = step.operation
    if isinstance(operation, ScaleShift):
        return bool((operation.scale >= 0).all())
    return isinstance(operation, Nonlinear) and operation.pointwise


def _nonlinear(steps: Sequence[GraphStep]) -> bool:
    return any(isinstance(step.operation, Nonlinear) for step in steps)
