"""Exact intervals of sums of pixels, over balls that are more than a box.

Interval arithmetic is exact for the first sums over a box alone. Over a ball cut by the box, the
least and largest value of a sum of pixels is a small optimisation over the pixels in it: over the
receptive field of a convolution. Sums of such sums are sums of pixels too, up to the first
relaxation. Where there are too many coefficients to keep, their norms bound the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from tempering.certification.affine_operations import MatrixProduct
from tempering.certification.graph import Graph
from tempering.certification.largest_gains import count_gain
from tempering.certification.operations import Affine, IntervalTensor
from tempering.certification.region import Region

_ROWS = 512
"""Sums whose coefficients are written out at a time, at most."""
_MOST = 2**22
"""Coefficients of all sums of a step, at most, for their intervals to be optimised."""
_PULLED = 2**32
"""Coefficients, zeros included, that are computed of a step at most, and then forgotten."""
_AT_ONCE = 2**22
"""Numbers that one tensor of the optimisation may hold."""
_SPARE = 1 + 1e-9
"""Covers the rounding of coefficients in float64."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of pixels.

    Attributes:
        coefficients: Of each sum, shape (sums, pixels of each), float64; those of pixels that
            a sum lacks are 0.
        columns: The pixels of each, of the flattened image, shape of `coefficients`; None where
            each has all pixels.
    """

    coefficients: Tensor
    columns: Tensor | None


def is_settled(graph: Graph, region: Region, number: int) -> bool:
    """Whether the interval of a step is as narrow as linear bounds could make it."""
    if not graph.exact[number]:
        return False
    if region.norm == "linf":
        return True
    while graph.steps[number].sources:
        operation = graph.steps[number].operation
        if operation is not None and not operation.pointwise:
            return sums_of(graph, number, region.x.device) is not None
        (number,) = graph.steps[number].sources
    return True


def sums_of(graph: Graph, number: int, device: torch.device) -> Sums | None:
    """The sums that a step returns, as sums of the image; kept by the graph.

    Args:
        graph: The network.
        number: Of the step.
        device: Of the network.

    Returns:
        The sums; None if a step before it is not affine, or it has too many coefficients.
    """
    if number not in graph.sums:
        straight = _is_straight(graph, number)
        graph.sums[number] = _written_out(graph, number, device) if straight else None
    return graph.sums[number]


def _is_straight(graph: Graph, number: int) -> bool:
    """Whether all steps up to this one are affine, each of one other."""
    while number:
        step = graph.steps[number]
        if len(step.sources) != 1 or not isinstance(step.operation, Affine):
            return False
        (number,) = step.sources
    return True


def _written_out(graph: Graph, number: int, device: torch.device) -> Sums | None:
    step, pixels = graph.steps[number], prod(graph.steps[0].shape)
    count = prod(step.shape)
    if isinstance(step.operation, MatrixProduct) or count <= _ROWS:
        if count * pixels > _MOST:
            return None
        return Sums(torch.cat([*_images(graph, number, device)]), None)
    if count * pixels > _PULLED:
        return None
    widest, parts = 1, []
    for image in _images(graph, number, device):
        widest = max(widest, int((image != 0).sum(1).amax()))
        if count * widest > _MOST:
            return None
        columns = (image != 0).to(torch.int8).topk(widest, sorted=False).indices
        parts.append((image.gather(1, columns), columns))
    wide = [_padded(values, columns, widest) for values, columns in parts]
    return Sums(torch.cat([values for values, _ in wide]), torch.cat([at for _, at in wide]))


def _images(graph: Graph, number: int, device: torch.device) -> Iterator[Tensor]:
    """Coefficients of the sums over the whole image, some rows at a time."""
    shape = graph.steps[number].shape
    count = prod(shape)
    rows = max(1, min(_ROWS, _AT_ONCE // graph.width))
    for places in torch.split(torch.arange(count, device=device), rows):
        a = torch.zeros(len(places), count, dtype=torch.float64, device=device)
        a = a.scatter(1, places[:, None], 1.0)
        yield _pulled(graph, number, a.reshape(-1, *shape)).flatten(1) * _SPARE


def dual_norms(
    graph: Graph, number: int, norm: str, pixels: int, device: torch.device
) -> Tensor | None:
    """Norms of the coefficients with which the image enters a step; kept by the graph.

    By Hölder's inequality a change of length r in L2 or L1 moves a sum by at most r times the
    dual norm of its coefficients; a change of k pixels, each by at most r, by at most r times the
    sum of the k largest.

    Args:
        graph: The network.
        number: Of a step that only affine steps precede.
        norm: `l2`, `l1` or `l0`.
        pixels: That may change, in L0.
        device: Of the network.

    Returns:
        Norms, shape (sums,); None if they take too long.
    """
    key = number, norm, pixels
    if key not in graph.dual_norms:
        size = prod(graph.steps[number].shape) * prod(graph.steps[0].shape)
        found = None
        if size <= _PULLED:
            of = _norm(norm, pixels)
            found = torch.cat([of(image) for image in _images(graph, number, device)]) * _SPARE
        graph.dual_norms[key] = found
    return graph.dual_norms[key]


def _norm(norm: str, pixels: int) -> Callable[[Tensor], Tensor]:
    if norm == "l0":
        return lambda a: count_gain(a.abs(), pixels)
    order = 2.0 if norm == "l2" else torch.inf
    return lambda a: torch.linalg.vector_norm(a, order, dim=1)


def _padded(values: Tensor, columns: Tensor, width: int) -> tuple[Tensor, Tensor]:
    spare = (0, width - values.shape[1])
    return torch.nn.functional.pad(values, spare), torch.nn.functional.pad(columns, spare)


def _pulled(graph: Graph, number: int, a: Tensor) -> Tensor:
    """Coefficients of such a step, expressed in the image."""
    while number:
        operation = graph.steps[number].operation
        if not isinstance(operation, Affine):
            raise TypeError(f"step {graph.steps[number].name} is not affine")
        (a,) = operation.transpose(a)
        (number,) = graph.steps[number].sources
    return a


class FirstSums:
    """Narrows the intervals of sums of pixels to what a ball allows.

    The centre of the region is followed through the steps before. Each step is charged with the
    rounding that it may have anywhere in the region, so that the interval around the centre's own
    value holds for every image of the region.
    """

    def __init__(self, graph: Graph, region: Region, error: Tensor) -> None:
        """Start at the images.

        Args:
            graph: The network.
            region: What goes in.
            error: Rounding of images, broadcastable to the box of the region.
        """
        self.graph, self.region = graph, region
        self.centres = {0: region.middle.widened(error)}

    def narrowed(self, number: int, out: IntervalTensor, error: Tensor) -> IntervalTensor:
        """The interval of a step, intersected with what the region allows.

        Args:
            number: Of the step.
            out: Its interval, with its rounding.
            error: Its rounding.
        """
        step = self.graph.steps[number]
        if len(step.sources) != 1 or step.sources[0] not in self.centres:
            return out
        if not isinstance(step.operation, Affine):
            return out
        centre = step.operation.interval([self.centres[step.sources[0]]])[0].widened(error)
        self.centres[number] = centre
        if step.operation.pointwise:
            return out
        sums = sums_of(self.graph, number, self.region.x.device)
        reach = self._longest(number) if sums is None else self._reach(sums)
        if reach is None:
            return out
        down, up = (part.reshape(-1, *step.shape) for part in reach)
        return out.within(IntervalTensor(centre.low - down, centre.high + up))

    def _reach(self, sums: Sums) -> IntervalTensor:
        """How far each sum can fall and rise, shape (n, sums)."""
        a, columns = sums.coefficients, sums.columns
        size = max(1, _AT_ONCE // (len(self.region.x) * a.shape[1]))
        parts = [
            self.region.most_change(
                a[start : start + size], None if columns is None else columns[start : start + size]
            )
            for start in range(0, len(a), size)
        ]
        return IntervalTensor(*(torch.cat(ends, 1) for ends in zip(*parts, strict=True)))

    def _longest(self, number: int) -> IntervalTensor | None:
        """The same by norms of coefficients, shape (1, sums); None without such."""
        if self.region.norm == "cost":
            return None
        few = int(self.region.radius) if self.region.norm == "l0" else 0
        norms = dual_norms(self.graph, number, self.region.norm, few, self.region.x.device)
        if norms is None:
            return None
        reach = self.region.longest_move * norms[None]
        return IntervalTensor(reach, reach)
