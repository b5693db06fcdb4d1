"""The initial perturbation of Square and its random window changes, one class per norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tempering.attacks.square_windows import SquareWindows
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat

_TINY = 1e-12
_UNCHANGED = 1e-3
"""Share of eps below which a change of a pixel counts as none."""
_TILES = 5
"""Tiles along an image's side in the initial perturbation of L2 and L1."""
_STRETCHES = 2
"""How often a perturbation is scaled to eps and projected: the second time uses up most of what
the box cut off."""


class WindowMoves(Protocol):
    """Random changes of square windows within a threat."""

    def start(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """The initial perturbed images, shape of x."""
        ...

    def draw(self, streams: RandomStreams, like: Tensor, side: int) -> Any:
        """Random changes of windows of one side, one per stream, for images such as these.

        The result is indexed by number: `changes[which]`.
        """
        ...

    def step(self, x: Tensor, best: Tensor, change: Any) -> Tensor:
        """The best images so far with one window changed; `best` may be overwritten."""
        ...


@dataclass(frozen=True, eq=False)
class CornerChange:
    """Sets a window to x + eps or x - eps, by channel.

    Attributes:
        window: The window that changes.
        signs: Direction of each channel, 1 or -1, shape (n, c, 1, 1).
    """

    window: SquareWindows
    signs: Tensor

    def __getitem__(self, which: Tensor) -> CornerChange:
        return CornerChange(self.window[which], self.signs.index_select(0, which))


@dataclass(frozen=True)
class CornerMoves:
    """L-inf: every pixel of a window moves to x + eps or x - eps.

    Andriushchenko et al., 2020, algorithm 2.

    Attributes:
        threat: The ball.
    """

    threat: Threat

    def start(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Vertical stripes of width 1."""
        stripes = _signs(streams, (x.shape[1], 1, x.shape[3]), x)
        return self.threat.project(x + self.threat.eps * stripes, x)

    def draw(self, streams: RandomStreams, like: Tensor, side: int) -> CornerChange:
        """One window per stream, one sign per channel."""
        shape = (like.shape[2], like.shape[3])
        window = SquareWindows.drawn(streams.derive("place"), shape, side)
        return CornerChange(window, _channel_signs(streams, like))

    def step(self, x: Tensor, best: Tensor, change: CornerChange) -> Tensor:
        """Move each channel by its sign, or by the opposite sign if that changes nothing."""
        window, shift = change.window, self.threat.eps * change.signs
        image, before = window.of(x), window.of(best)
        up, down = (image + shift).clamp(0.0, 1.0), (image - shift).clamp(0.0, 1.0)
        moved = (up - before).abs().flatten(1).amax(1) > _UNCHANGED * self.threat.eps
        changed = window.put(best, torch.where(moved[:, None, None, None], up, down))
        return self.threat.project(changed, x)


@dataclass(frozen=True, eq=False)
class BumpChange:
    """Moves the budget of one window into another.

    Attributes:
        window: The window that receives a bump.
        emptied: The window whose perturbation is removed.
        signs: Direction of each channel, 1 or -1, shape (n, c, 1, 1).
        transposed: Whether hill and valley lie side by side, shape (n, 1, 1, 1), bool.
    """

    window: SquareWindows
    emptied: SquareWindows
    signs: Tensor
    transposed: Tensor

    def __getitem__(self, which: Tensor) -> BumpChange:
        return BumpChange(
            self.window[which],
            self.emptied[which],
            self.signs.index_select(0, which),
            self.transposed.index_select(0, which),
        )


@dataclass(frozen=True)
class BumpMoves:
    """L2 and L1: a bump in one window takes over the budget of another.

    L2 is algorithm 3 of Andriushchenko et al., 2020. L1 follows Croce and Hein, 'Mind the
    box', 2021, with two choices of ours. Hills fall off faster: ring d of a hill has about
    8 d pixels, so heights of d ** -3 give every scale the same share of a sum of sizes, as
    d ** -2 does for a sum of squares. And a new window receives more than its budget; the
    projection then removes the smallest changes, which keeps the perturbation sparse.

    Attributes:
        threat: The ball.
        order: Order of the norm, 1 or 2, by which budgets add up.
        overfill: Factor by which a new window exceeds its budget before the projection.
    """

    threat: Threat
    order: int
    overfill: float = 1.0

    def start(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Tiles of bumps, each with one sign per channel."""
        side = max(1, min(x.shape[2:]) // _TILES)
        delta = torch.zeros_like(x)
        places = (
            (top, left) for top in _tiles(x.shape[2], side) for left in _tiles(x.shape[3], side)
        )
        for number, (top, left) in enumerate(places):
            tile = streams.derive("tile", number)
            bumps = _channel_signs(tile, x) * self.bumps(_transposed(tile), side, x)
            delta[:, :, top : top + side, left : left + side] = bumps
        return self.fit(x, delta)

    def draw(self, streams: RandomStreams, like: Tensor, side: int) -> BumpChange:
        """Two windows per stream, of an odd side where the image allows it."""
        shape = (like.shape[2], like.shape[3])
        side = max(3, side + (side + 1) % 2) if min(shape) >= 3 else 1
        side = min(side, min(shape) - (min(shape) + 1) % 2)
        return BumpChange(
            SquareWindows.drawn(streams.derive("place"), shape, side),
            SquareWindows.drawn(streams.derive("other"), shape, side),
            _channel_signs(streams, like),
            _transposed(streams),
        )

    def step(self, x: Tensor, best: Tensor, change: BumpChange) -> Tensor:
        """Empty one window and add a bump to the other, with the budget of both."""
        window, emptied, side = change.window, change.emptied, change.window.rows.shape[1]
        delta = best - x
        both = delta * (window.mask() | emptied.mask())
        budget = self.available(delta, both)
        old = window.of(delta)
        bump = change.signs * self.bumps(change.transposed, side, x)
        new = bump + old / self.channel_norms(old).clamp_min(_TINY)
        new = new / self.channel_norms(new).clamp_min(_TINY) * budget
        return self.fit(x, window.put(emptied.put(delta, 0.0), new))

    def channel_norms(self, delta: Tensor) -> Tensor:
        """Norm of each channel, shape (n, c, 1, 1)."""
        norms: Tensor = torch.linalg.vector_norm(delta, self.order, dim=(-2, -1), keepdim=True)
        return norms

    def available(self, delta: Tensor, both: Tensor) -> Tensor:
        """Budget of a new window by channel: that of two windows, and a share of the unused."""
        used = delta.abs().pow(self.order).sum((1, 2, 3), keepdim=True)
        unused = (self.threat.eps**self.order - used).clamp_min(0.0) / delta.shape[1]
        freed = both.abs().pow(self.order).sum((2, 3), keepdim=True)
        return self.overfill * (freed + unused).pow(1 / self.order)

    def fit(self, x: Tensor, delta: Tensor) -> Tensor:
        """Images with a perturbation of norm eps where the box allows it."""
        for _ in range(_STRETCHES):
            norm = torch.linalg.vector_norm(delta.flatten(1), self.order, dim=1).clamp_min(_TINY)
            scale = (self.threat.eps / norm).clamp_min(1.0)[:, None, None, None]
            x_adv = self.threat.project(x + scale * delta, x)
            delta = x_adv - x
        return x_adv

    def bumps(self, transposed: Tensor, side: int, like: Tensor) -> Tensor:
        """A hill beside a valley, one above the other or side by side, shape (n, 1, side, side)."""
        upper = side // 2
        hill, valley = self.hill(upper, side, like), self.hill(side - upper, side, like)
        pair = torch.cat(
            [
                hill / self.channel_norms(hill).clamp_min(_TINY),
                -valley / self.channel_norms(valley),
            ]
        )
        pair = pair / self.channel_norms(pair)
        return torch.where(transposed, pair.T, pair)

    def hill(self, height: int, width: int, like: Tensor) -> Tensor:
        """A sum of nested squares around the middle, shape (height, width).

        Square k has height k ** -2 in L2 and k ** -3 in L1.
        """
        row = torch.arange(height, device=like.device, dtype=like.dtype)
        column = torch.arange(width, device=like.device, dtype=like.dtype)
        down, across = (row - height // 2).abs(), (column - width // 2).abs()
        ring = torch.maximum(down[:, None], across[None, :])
        out = torch.zeros_like(ring)
        for number in range(max(height, width) // 2 + 1):
            out += (ring <= number) / (number + 1) ** (4 - self.order)
        return out


def moves_for(threat: Threat) -> WindowMoves:
    """The window moves of a threat's norm, one of `linf`, `l2` and `l1`."""
    if threat.norm == "linf":
        return CornerMoves(threat)
    return BumpMoves(threat, order=2) if threat.norm == "l2" else BumpMoves(threat, 1, overfill=6.0)


def _signs(streams: RandomStreams, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.where(streams.uniform(shape) < 0.5, -1.0, 1.0).to(like.dtype)


def _channel_signs(streams: RandomStreams, like: Tensor) -> Tensor:
    """One sign per channel, shape (n, c, 1, 1)."""
    return _signs(streams.derive("sign"), (like.shape[1], 1, 1), like)


def _transposed(streams: RandomStreams) -> Tensor:
    return streams.derive("turn").uniform((1, 1, 1)) < 0.5


def _tiles(length: int, side: int) -> range:
    """Offsets of tiles along a side; what does not divide is split between both ends."""
    return range(length % side // 2, length - side + 1, side)
