"""The patch threat model: one square of the image may change."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.errors import ThreatError
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat


@dataclass(frozen=True)
class Patch(Threat):
    """All pixels of one square may change within [0, 1]; no other pixel may.

    The distance of two images is a share of area too: that of the smallest square that contains
    all changed pixels, clipped to the image.

    Attributes:
        eps: Largest share of the image's area, 0 to 1.
        at: Row and column of the square's upper left pixel; None for any place, which may
            differ between images.

    Raises:
        ThreatError: If eps is not in [0, 1], or the place is invalid.

    Example:
        >>> Patch(0.05).side(28, 28), str(Patch(0.05, at=(2, 3)))
        (6, 'patch:0.05@2,3')
    """

    name = "patch"

    at: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps > 1:
            raise ThreatError(
                f"patch {self.eps:g} is more than the whole image: give the share of its "
                "area, 0 to 1"
            )
        if self.at is not None and not _is_place(self.at):
            raise ThreatError(f"patch at {self.at!r}: give a row and a column from 0 up")

    def __str__(self) -> str:
        return super().__str__() + ("" if self.at is None else "@{},{}".format(*self.at))

    @property
    def norm(self) -> str:
        """`patch`."""
        return Patch.name

    def side(self, height: int, width: int) -> int:
        """Side length in pixels of the largest allowed square, which is clipped to the image."""
        area = self.eps * height * width * (1 + 1e-9)
        side = min(math.isqrt(math.floor(area)), height, width)
        if side == min(height, width):
            side = max(side, min(max(height, width), math.floor(area / min(height, width))))
        return side

    def places(self, height: int, width: int) -> list[tuple[int, int]]:
        """Allowed upper left pixels of the square, row by row; empty if its side is 0.

        Raises:
            ThreatError: If the square does not fit into the image at its fixed place.
        """
        side = self.side(height, width)
        if side == 0:
            return []
        last = (height - min(side, height), width - min(side, width))
        if self.at is None:
            return [(top, left) for top in range(last[0] + 1) for left in range(last[1] + 1)]
        if self.at[0] > last[0] or self.at[1] > last[1]:
            raise ThreatError(
                f"{self} leaves an image of {height} x {width}: its square has {side} pixels a "
                f"side: give a place up to {last[0]},{last[1]}"
            )
        return [self.at]

    def windows(self, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
        """Squares at given places as masks, shape (n, 1, h, w), bool."""
        side = self.side(height, width)
        row = torch.arange(height, device=top.device)
        column = torch.arange(width, device=top.device)
        tall = (row >= top[:, None]) & (row < top[:, None] + side)
        wide = (column >= left[:, None]) & (column < left[:, None] + side)
        return (tall[:, :, None] & wide[:, None, :])[:, None]

    def best(self, weight: Tensor) -> Tensor:
        """The square with the largest sum of weights.

        Args:
            weight: At least 0, shape (n, c, h, w).

        Returns:
            A mask, shape (n, 1, h, w), bool.
        """
        height, width = weight.shape[2:]
        places = torch.tensor(self.places(height, width), device=weight.device).reshape(-1, 2)
        if not len(places):
            return torch.zeros_like(weight[:, :1], dtype=torch.bool)
        side = self.side(height, width)
        sums = weight.double().sum(1).cumsum(1).cumsum(2)
        sums = torch.nn.functional.pad(sums, (1, 0, 1, 0))
        top, left = places[:, 0], places[:, 1]
        bottom, right = (top + side).clamp_max(height), (left + side).clamp_max(width)
        held = sums[:, bottom, right] - sums[:, top, right]
        held = held - sums[:, bottom, left] + sums[:, top, left]
        chosen = places[held.argmax(1)]
        return self.windows(chosen[:, 0], chosen[:, 1], height, width)

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Keep delta in the square where its squared norm is largest: the Euclidean projection."""
        return delta * self.best(delta.square())

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Area share of the smallest square around all changed pixels, shape (n,).

        It is infinite if a pixel outside the fixed square changed.
        """
        changed = (x_adv != x).any(1)
        height, width = changed.shape[1:]
        side = torch.maximum(_extent(changed.any(2)), _extent(changed.any(1)))
        area = side.clamp_max(height) * side.clamp_max(width)
        share = area.to(x.dtype) / (height * width)
        if self.at is None or self.side(height, width) == 0:
            return share
        self.places(height, width)
        top = torch.tensor([self.at[0]], device=x.device)
        left = torch.tensor([self.at[1]], device=x.device)
        inside = self.windows(top, left, height, width)[:, 0]
        return share.masked_fill((changed & ~inside).any(2).any(1), torch.inf)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The sign of the gradient in the square with the largest absolute sum."""
        return gradient.sign() * self.best(gradient.abs())

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Uniform noise in a random square."""
        streams = streams.on(x.device)
        return torch.where(self.random(x.shape, streams), self._noise(x, streams), x)

    def random(self, shape: Sequence[int], streams: RandomStreams) -> Tensor:
        """A random square for each image, as masks, shape (n, 1, h, w), bool."""
        height, width = shape[2:]
        places = torch.tensor(self.places(height, width), device=streams.index.device)
        if not len(places):
            none = torch.zeros(1, dtype=torch.bool, device=streams.index.device)
            return none.expand(len(streams), 1, height, width)
        chosen = places[streams.derive("place").choice(len(places))]
        return self.windows(chosen[:, 0], chosen[:, 1], height, width)

    def _noise(self, x: Tensor, streams: RandomStreams) -> Tensor:
        return streams.derive("noise").uniform(x.shape[1:]).to(x.dtype)


def _is_place(at: object) -> bool:
    whole = isinstance(at, tuple | list) and all(isinstance(value, int) for value in at)
    return isinstance(at, tuple | list) and whole and len(at) == 2 and min(at) >= 0


def _extent(used: Tensor) -> Tensor:
    """Number of rows from the first to the last used one; `used` has shape (n, rows), bool."""
    number = torch.arange(used.shape[1], device=used.device)
    first = number.masked_fill(~used, used.shape[1]).amin(1)
    last = number.masked_fill(~used, -1).amax(1)
    return (last - first + 1).clamp_min(0)


def parse_patch(text: str) -> Patch:
    """Parse the part after `patch:`: a share, or a share and a place, `0.05` or `0.05@2,3`.

    Raises:
        ThreatError: If the text has another form.

    Example:
        >>> parse_patch("1/20@2,3").at
        (2, 3)
    """
    text = text.replace(" ", "")
    match = re.fullmatch(r"([0-9.eE+-]+)(?:/([0-9.]+))?(?:@(\d+),(\d+))?", text)
    try:
        if match is None:
            raise ValueError
        share = float(match[1]) / float(match[2] or 1)
    except (ValueError, ZeroDivisionError):
        raise ThreatError(
            f"patch {text!r} is not SHARE or SHARE@ROW,COLUMN: write it as patch:0.05@2,3"
        ) from None
    patch = Patch(share, (int(match[3]), int(match[4])) if match[3] else None)
    return patch.written(text.partition("@")[0])
