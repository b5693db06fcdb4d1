"""How Square starts and what it changes, norm by norm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from tempering.attacks.box import into_l1_and_box
from tempering.attacks.windows import Windows
from tempering.core.random import RandomStreams

_TINY = 1e-12
_TILES = 5
"""Tiles along an image's side in the first perturbation of L2 and L1."""
_STRETCHES = 2
"""Times that a perturbation is stretched to eps and cut to the box: the second uses up most of
what the first cut off."""

_OVERFILL = 6.0
"""Times its share of the budget that a new window gets in L1, before the projection."""


@dataclass(frozen=True, eq=False)
class Change:
    """What is drawn of changes to images, one each.

    Attributes:
        window: What is changed.
        signs: Up or down, 1 or -1, shape (n, c, 1, 1).
    """

    window: Windows
    signs: Tensor

    def __getitem__(self, which: Tensor) -> Change:
        """Some of them, by number, int64."""
        return replace(self, window=self.window[which], signs=self.signs.index_select(0, which))


@dataclass(frozen=True, eq=False)
class Exchange(Change):
    """A change that is paid for by another window.

    Attributes:
        other: The window that is emptied.
        lying: Whether hill and valley lie side by side, shape (n, 1, 1, 1), bool.
    """

    other: Windows
    lying: Tensor

    def __getitem__(self, which: Tensor) -> Exchange:
        """Some of them, by number, int64."""
        window, signs = self.window[which], self.signs.index_select(0, which)
        return Exchange(window, signs, self.other[which], self.lying.index_select(0, which))


Drawn = TypeVar("Drawn", bound=Change)


@dataclass(frozen=True)
class Moves(ABC, Generic[Drawn]):
    """Changes within a ball of radius eps and the box."""

    eps: float

    @abstractmethod
    def start(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """The first perturbed images, shape of x."""

    @abstractmethod
    def draw(self, streams: RandomStreams, like: Tensor, side: int) -> Drawn:
        """Changes of windows of one side, one a stream, for images such as these."""

    @abstractmethod
    def step(self, x: Tensor, best: Tensor, change: Drawn) -> Tensor:
        """Images that differ from the best so far, which it may change in place, by one window."""


def _signs(streams: RandomStreams, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.where(streams.uniform(shape) < 0.5, -1.0, 1.0).to(like.dtype)


def _way(streams: RandomStreams, like: Tensor) -> Tensor:
    """A sign a channel, shape (n, c, 1, 1)."""
    return _signs(streams.derive("sign"), (like.shape[1], 1, 1), like)


class Corners(Moves[Change]):
    """L-inf: every pixel of a window goes to one end, eps up or eps down by channel."""

    def start(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Vertical stripes."""
        stripes = _signs(streams, (x.shape[1], 1, x.shape[3]), x)
        return (x + self.eps * stripes).clamp(0.0, 1.0)

    def draw(self, streams: RandomStreams, like: Tensor, side: int) -> Change:
        """One window, each channel of one sign."""
        window = Windows.drawn(streams.derive("place"), (like.shape[2], like.shape[3]), side)
        return Change(window, _way(streams, like))

    def step(self, x: Tensor, best: Tensor, change: Change) -> Tensor:
        """Each channel by its sign; the other way round if that changes nothing."""
        window, shift = change.window, self.eps * change.signs
        image, before = window.of(x), window.of(best)
        moved, turned = (image + shift).clamp(0.0, 1.0), (image - shift).clamp(0.0, 1.0)
        changes = (moved != before).flatten(1).any(1)[:, None, None, None]
        return window.put(best, torch.where(changes, moved, turned))


class _Budget(Moves[Exchange]):
    """L2 and L1: one window gives what it has of the budget to another."""

    steepness: ClassVar[int]
    """Power with which a bump falls off from its middle."""

    @abstractmethod
    def lengths(self, delta: Tensor) -> Tensor:
        """Norms over the last two dimensions, which are kept."""

    @abstractmethod
    def fit(self, x: Tensor, delta: Tensor) -> Tensor:
        """Images with a perturbation of the ball's full radius, within the box."""

    @abstractmethod
    def available(self, delta: Tensor, both: Tensor) -> Tensor:
        """Budget of one window, by channel: what two have, and a share of what is unused."""

    def start(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Tiles of bumps, each of one sign by channel."""
        side = max(1, min(x.shape[2:]) // _TILES)
        delta = torch.zeros_like(x)
        places = (
            (top, left) for top in _tiles(x.shape[2], side) for left in _tiles(x.shape[3], side)
        )
        for number, (top, left) in enumerate(places):
            part = streams.derive("tile", number)
            bumps = _way(part, x) * self._bumps(_lying(part), side, x)
            delta[:, :, top : top + side, left : left + side] = bumps
        return self.fit(x, delta)

    def draw(self, streams: RandomStreams, like: Tensor, side: int) -> Exchange:
        """A window to empty, and one to fill, of an odd side where that can be."""
        shape = (like.shape[2], like.shape[3])
        side = max(3, side + (side + 1) % 2) if min(shape) >= 3 else 1
        side = min(side, min(shape) - (min(shape) + 1) % 2)
        one = Windows.drawn(streams.derive("place"), shape, side)
        other = Windows.drawn(streams.derive("other"), shape, side)
        return Exchange(one, _way(streams, like), other, _lying(streams))

    def step(self, x: Tensor, best: Tensor, change: Exchange) -> Tensor:
        """Empty one window; add a bump to another, which takes over the budget of both."""
        one, other, side = change.window, change.other, change.window.rows.shape[1]
        delta = best - x
        both = delta * (one.mask() | other.mask())
        budget = self.available(delta, both)
        old = one.of(delta)
        bump = change.signs * self._bumps(change.lying, side, x)
        new = bump + old / self.lengths(old).clamp_min(_TINY)
        new = new / self.lengths(new).clamp_min(_TINY) * budget
        return self.fit(x, one.put(other.put(delta, 0.0), new))

    def _bumps(self, lying: Tensor, side: int, x: Tensor) -> Tensor:
        """A hill beside a valley, one above the other or side by side, shape (n, 1, side, side)."""
        upper = side // 2
        hill, valley = self._hill(upper, side, x), self._hill(side - upper, side, x)
        pair = torch.cat(
            [hill / self.lengths(hill).clamp_min(_TINY), -valley / self.lengths(valley)]
        )
        pair = pair / self.lengths(pair)
        return torch.where(lying, pair.T, pair)

    def _hill(self, height: int, width: int, like: Tensor) -> Tensor:
        """Nested squares around the middle added up, ring k of height 1 / k ** steepness."""
        row = torch.arange(height, device=like.device, dtype=like.dtype)
        column = torch.arange(width, device=like.device, dtype=like.dtype)
        down, across = (row - height // 2).abs(), (column - width // 2).abs()
        ring = torch.maximum(down[:, None], across[None, :])
        out = torch.zeros_like(ring)
        for number in range(max(height, width) // 2 + 1):
            out += (ring <= number) / (number + 1) ** self.steepness
        return out


def _lying(streams: RandomStreams) -> Tensor:
    return streams.derive("turn").uniform((1, 1, 1)) < 0.5


def _tiles(length: int, side: int) -> range:
    """Where tiles begin along a side, in the middle of what does not divide."""
    return range(length % side // 2, length - side + 1, side)


class Euclidean(_Budget):
    """L2: budgets add up as squares."""

    steepness = 2

    def lengths(self, delta: Tensor) -> Tensor:
        """Euclidean length of each channel."""
        return delta.square().sum((-2, -1), keepdim=True).sqrt()

    def fit(self, x: Tensor, delta: Tensor) -> Tensor:
        """Stretched to length eps and cut to the box; what the cut saves stretches the rest."""
        for _ in range(_STRETCHES):
            length = delta.flatten(1).square().sum(1).sqrt().clamp_min(_TINY)
            stretched = delta * (self.eps / length)[:, None, None, None]
            delta = (x + stretched).clamp(0.0, 1.0) - x
        return (x + delta).clamp(0.0, 1.0)

    def available(self, delta: Tensor, both: Tensor) -> Tensor:
        """Lengths from squares."""
        unused = (self.eps**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp_min(0.0)
        return (both.square().sum((2, 3), keepdim=True) + unused / delta.shape[1]).sqrt()


class Taxicab(_Budget):
    """L1: budgets add up as they are.

    The shape of a bump follows from the one in L2. Ring d of a hill has about 8 d pixels,
    each of height about d ** (1 - steepness). With the steepness of L2, which is 2, the
    squares of a ring add up to about 1 / d: every scale of the hill has the same share
    of the budget. In L1 sizes add up, and share it out in this way with a steepness of 3.

    A new window gets more than it may: the projection then takes the same from every
    changed pixel, and the weak ones are the images' own again, as a sparse change needs.
    How much more was measured on training digits and on patches of photographs: nothing
    more was far weaker, and from 6 times on there was no gain.
    """

    steepness = 3

    def lengths(self, delta: Tensor) -> Tensor:
        """Sum of sizes in each channel."""
        return delta.abs().sum((-2, -1), keepdim=True)

    def fit(self, x: Tensor, delta: Tensor) -> Tensor:
        """The nearest point of ball and box together; what the box saves stretches the rest."""
        for _ in range(_STRETCHES):
            total = delta.abs().sum((1, 2, 3), keepdim=True).clamp_min(_TINY)
            x_adv = into_l1_and_box(x, delta * (self.eps / total).clamp_min(1.0), self.eps)
            delta = x_adv - x
        return x_adv

    def available(self, delta: Tensor, both: Tensor) -> Tensor:
        """Sums of sizes, overfilled: the projection takes from everything what is too much."""
        unused = (self.eps - delta.abs().sum((1, 2, 3), keepdim=True)).clamp_min(0.0)
        return _OVERFILL * (both.abs().sum((2, 3), keepdim=True) + unused / delta.shape[1])


MOVES: dict[str, type[Moves[Any]]] = {"linf": Corners, "l2": Euclidean, "l1": Taxicab}
"""Norm -> how Square moves in it."""
