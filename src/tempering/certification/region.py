"""The set of perturbed images, and the minimum of a linear function over it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from tempering.certification.largest_gains import (
    box_gain,
    budget_gain,
    budget_shares,
    count_gain,
    count_shares,
    euclidean_gain,
    euclidean_moves,
)
from tempering.certification.operations import IntervalTensor
from tempering.certification.precision import UNIT64
from tempering.core.threats import TOLERANCE, Threat

NORMS = ("linf", "l2", "l1", "l0")


@dataclass(frozen=True, eq=False)
class Region:
    """What a threat leaves of each image: a box, and a limit on how much moves within it.

    It holds all that `Threat.contains` accepts: the tolerance there widens both. A region may also
    lie behind the first stages of a network (`reduction`): then `box` and `centre` are what these
    stages make of images.

    Attributes:
        norm: What limits moves from the centre: nothing more than the box (`linf`), their length
            (`l2`), their sum (`l1`), their number (`l0`), or costs that add up (`cost`).
        x: Images, shape (n, c, h, w), float64.
        radius: Of the ball; what costs may add up to.
        box: What each number can be, by ball and box, shape (n, c, h, w).
        centre: What each number is if the image does not change; None for the images.
        costs: Of moves down and up to the ends of the box, in `cost`; at least 0.
        ends: Pixels of images that lead to the ends of the box; None for the box.
    """

    norm: str
    x: Tensor
    radius: float
    box: IntervalTensor
    centre: IntervalTensor | None = None
    costs: IntervalTensor | None = None
    ends: IntervalTensor | None = None

    @classmethod
    def around(cls, x: Tensor, threat: Threat) -> Region:
        """The region of a threat whose norm is one of `NORMS`."""
        slack = TOLERANCE * max(1.0, threat.eps)
        # distances are sums of as many terms as an image has pixels, rounded
        terms = x[0].numel() + 8 if len(x) else 8
        radius = threat.eps + slack + terms * UNIT64 * (1 + threat.eps)
        x = x.double()
        if threat.name == "l0":
            radius = float(math.floor(threat.eps + slack))
            reach = 2.0 if radius else 0.0
        else:
            reach = radius
        low = (x - reach).clamp_min(-slack)
        high = (x + reach).clamp_max(1 + slack)
        # an image may itself lie a rounding outside the box
        box = IntervalTensor(torch.minimum(low, x), torch.maximum(high, x))
        return cls(threat.name, x, radius, box)

    @property
    def middle(self) -> IntervalTensor:
        """What each number is if the image does not change."""
        return IntervalTensor(self.x, self.x) if self.centre is None else self.centre

    def part(self, rows: Tensor) -> Region:
        """A subset of the samples."""
        return self.mapped(lambda numbers: numbers[rows])

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Region:
        """The same with a function applied to all numbers, such as one that selects some."""

        def both(given: IntervalTensor | None) -> IntervalTensor | None:
            return None if given is None else IntervalTensor(*(change(end) for end in given))

        return replace(
            self,
            x=change(self.x),
            box=IntervalTensor(*(change(end) for end in self.box)),
            centre=both(self.centre),
            costs=both(self.costs),
            ends=both(self.ends),
        )

    def least(self, a: Tensor, rows: Tensor) -> Tensor:
        """A lower bound of a . z over the region; exact but for rounding.

        Args:
            a: Coefficients, shape (rows, c, h, w), float64.
            rows: The sample of each row, shape (rows,), int64.

        Returns:
            Bounds, shape (rows,).
        """
        a = a.flatten(1)
        if self.centre is None:
            value = (a * self.x.flatten(1)[rows]).sum(1)
        else:
            low, high = (end.flatten(1)[rows] for end in self.centre)
            value = (a.clamp_min(0.0) * low).sum(1) + (a.clamp_max(0.0) * high).sum(1)
        value = value - self._gain(a, self._rooms(rows))
        value = value - rounding(a.shape[1]) * self._reach * a.abs().sum(1)
        return value.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)

    def most_change(self, a: Tensor, columns: Tensor | None) -> IntervalTensor:
        """How far sums of some pixels can fall and rise, as distances from their centre.

        Args:
            a: Coefficients of sums, shape (sums, pixels of each), float64.
            columns: Which pixels these are, of the flattened image, shape of `a`; None for all.

        Returns:
            Distances down and up, at least 0, shape (n, sums).
        """
        rooms = self._rooms(torch.arange(len(self.x), device=a.device)).of_sums(columns)
        a = a.expand(len(self.x), *a.shape)
        both = [self._gain(a, rooms), self._gain(-a, rooms)]
        spare = rounding(a.shape[-1]) * self._reach * a.abs().sum(-1)
        return IntervalTensor(*(_known(gain.clamp_min(0.0) + spare) for gain in both))

    def where_least(self, a: Tensor, rows: Tensor) -> Tensor:
        """Images at which a . z is about least, shape of `a`; not projected onto the ball."""
        flat = a.detach().flatten(1)
        rooms = self._rooms(rows)
        room, weight = rooms.room(flat), flat.abs()
        if self.norm == "linf":
            share = (weight > 0).to(flat)
        elif self.norm == "l2":
            share = euclidean_moves(weight, room, self.radius) / room.clamp_min(1e-150)
        elif self.norm == "l0":
            share = count_shares(weight * room, int(self.radius))
        else:
            share = budget_shares(weight * room, rooms.cost(flat), self.radius)
        low, high = (end.flatten(1)[rows] for end in (self.ends or self.box))
        x = self.x.flatten(1)[rows]
        return (x + share * (torch.where(flat > 0, low, high) - x)).reshape(a.shape)

    @property
    def longest_move(self) -> float:
        """How far a pixel may move in L0, and all of them together in L2 and L1."""
        if self.norm != "l0":
            return self.radius
        return max((float(room.max()) for room in self._every_room if room.numel()), default=0.0)

    @cached_property
    def _reach(self) -> float:
        """The largest absolute number of the region, and how far it may move."""
        if not self.box.low.numel():
            return 0.0
        sizes = [*self.box, *self.middle]
        return 4.0 * max(float(size.abs().max()) for size in sizes)

    @cached_property
    def _every_room(self) -> tuple[Tensor, Tensor]:
        """How far each number can go down and up; flattened."""
        middle = self.middle
        down = (middle.low - self.box.low).clamp_min(0.0).flatten(1)
        return down, (self.box.high - middle.high).clamp_min(0.0).flatten(1)

    def _rooms(self, rows: Tensor) -> Rooms:
        down, up = (room[rows] for room in self._every_room)
        if self.costs is None:
            return Rooms(down, up)
        return Rooms(down, up, *(cost.flatten(1)[rows] for cost in self.costs))

    def _gain(self, a: Tensor, rooms: Rooms) -> Tensor:
        """By how much moves can lower a . z, for coefficients along the last dimension."""
        room, weight = rooms.room(a), a.abs()
        if self.norm == "linf":
            return box_gain(weight, room)
        if self.norm == "l2":
            return euclidean_gain(weight, room, self.radius)
        if self.norm == "l0":
            return count_gain(weight * room, int(self.radius))
        return budget_gain(weight * room, rooms.cost(a), self.radius)


class Rooms(NamedTuple):
    """How far numbers can go, and what that costs, shape (..., pixels).

    Attributes:
        down: Distances to the lower end, at least 0.
        up: Distances to the upper end.
        cost_down: Cost of the whole way down; None for its length.
        cost_up: Cost of the whole way up.
    """

    down: Tensor
    up: Tensor
    cost_down: Tensor | None = None
    cost_up: Tensor | None = None

    def room(self, a: Tensor) -> Tensor:
        """In the direction in which a . z falls."""
        return torch.where(a > 0, self.down, self.up)

    def cost(self, a: Tensor) -> Tensor:
        """In the direction in which a . z falls."""
        if self.cost_down is None or self.cost_up is None:
            return self.room(a)
        return torch.where(a > 0, self.cost_down, self.cost_up)

    def of_sums(self, columns: Tensor | None) -> Rooms:
        """Pixels of some sums, shape (n, sums, pixels); None for all pixels of one sum."""

        def of(part: Tensor) -> Tensor:
            return part[:, None] if columns is None else part[:, columns]

        down, up = of(self.down), of(self.up)
        if self.cost_down is None or self.cost_up is None:
            return Rooms(down, up)
        return Rooms(down, up, of(self.cost_down), of(self.cost_up))


def _known(bound: Tensor) -> Tensor:
    """Upper bounds; infinite where squares of coefficients are too large for float64."""
    return bound.nan_to_num(nan=torch.inf, posinf=torch.inf)


def rounding(terms: int) -> float:
    """The relative rounding of a minimum over so many pixels, and of the moves in it."""
    return (6 * terms + 256) * UNIT64
