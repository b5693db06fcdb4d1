"""The set of perturbed images, and the minimum of a linear function over it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.certification.operations import IntervalTensor
from tempering.certification.precision import UNIT64
from tempering.core.threats import TOLERANCE, Threat

NORMS = ("linf", "l2", "l1")
_ROUNDS = 12
"""Iterations for the L2 multiplier; bounds hold for any value."""


@dataclass(frozen=True, eq=False)
class Region:
    """A ball around each image, cut by the box.

    It holds all that `Threat.contains` accepts: the tolerance there widens both.

    Attributes:
        norm: `linf`, `l2` or `l1`.
        x: Images, shape (n, c, h, w), float64.
        radius: Of the ball.
        box: What each pixel can be, by ball and box, shape (n, c, h, w).
    """

    norm: str
    x: Tensor
    radius: float
    box: IntervalTensor

    @classmethod
    def around(cls, x: Tensor, threat: Threat) -> Region:
        """The region of a threat whose norm is one of `NORMS`."""
        slack = TOLERANCE * max(1.0, threat.eps)
        # distances are sums of as many terms as an image has pixels, rounded
        terms = x[0].numel() + 8 if len(x) else 8
        radius = threat.eps + slack + terms * UNIT64 * (1 + threat.eps)
        x = x.double()
        low = (x - radius).clamp_min(-slack)
        high = (x + radius).clamp_max(1 + slack)
        # an image may itself lie a rounding outside the box
        return cls(
            threat.name, x, radius, IntervalTensor(torch.minimum(low, x), torch.maximum(high, x))
        )

    def part(self, rows: Tensor) -> Region:
        """A subset of the samples."""
        return Region(self.norm, self.x[rows], self.radius, self.box.rows(rows))

    def least(self, a: Tensor, rows: Tensor) -> Tensor:
        """A lower bound of a . z over the region; exact but for rounding.

        In L2 and L1 by duality: for any multiplier m of the ball, the sum over pixels of the
        least a_i d_i + m |d_i|^p within the box, less m radius^p, is a lower bound.

        Args:
            a: Coefficients, shape (rows, c, h, w), float64.
            rows: The sample of each row, shape (rows,), int64.

        Returns:
            Bounds, shape (rows,).
        """
        a = a.flatten(1)
        x, down, up = self._room(rows)
        base = (a * x).sum(1)
        if self.norm == "linf":
            moved = torch.where(a > 0, a * down, a * up).sum(1)
        elif self.norm == "l2":
            m = self._multiplier_l2(a.detach(), down, up)[:, None]
            d = torch.clamp(-a / (2 * m), down, up).detach()
            moved = (a * d + m * d.square()).sum(1) - m[:, 0] * self.radius**2
        else:
            m = self._multiplier_l1(a, down, up)
            room = torch.where(a > 0, -down, up)
            moved = -((a.abs() - m[:, None]).clamp_min(0.0) * room).sum(1) - m * self.radius
        reach = (a.abs() * (x.abs() + torch.maximum(-down, up))).sum(1)
        return base + moved - (2 * a.shape[1] + 64) * 2 * UNIT64 * reach

    def where_least(self, a: Tensor, rows: Tensor) -> Tensor:
        """An approximate minimiser of a . z, shape of `a`; it is not projected onto the ball."""
        flat = a.detach().flatten(1)
        x, down, up = self._room(rows)
        if self.norm == "l2":
            m = self._multiplier_l2(flat, down, up)[:, None]
            d = torch.clamp(-flat / (2 * m), down, up)
        else:
            d = torch.where(flat > 0, down, torch.where(flat < 0, up, torch.zeros_like(up)))
        if self.norm == "l1":
            order = flat.abs().argsort(1, descending=True)
            spent = d.abs().gather(1, order).cumsum(1)
            left = (self.radius - (spent - d.abs().gather(1, order))).clamp_min(0.0)
            size = torch.minimum(d.abs().gather(1, order), left)
            d = d.sign() * torch.zeros_like(d).scatter(1, order, size)
        return (x + d).reshape(a.shape)

    def _room(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images, and how far each pixel can go down (at most 0) and up."""
        x = self.x[rows].flatten(1)
        box = self.box.rows(rows)
        return x, box.low.flatten(1) - x, box.high.flatten(1) - x

    def _multiplier_l2(self, a: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """The multiplier at which the best change has the length of the radius.

        With none cut by the box it is |a| / (2 radius). What the box cuts leaves more of the
        radius to the others, so the multiplier falls, step by step, to the right one.
        """
        m: Tensor = torch.linalg.vector_norm(a, dim=1) / (2 * self.radius)
        m = m.clamp_min(1e-150)
        for _ in range(_ROUNDS):
            want = -a / (2 * m[:, None])
            cut = (want < down) | (want > up)
            spent = torch.where(cut, torch.clamp(want, down, up), torch.zeros_like(a))
            rest = (self.radius**2 - spent.square().sum(1)).clamp_min(0.0).sqrt()
            free = torch.linalg.vector_norm(a.masked_fill(cut, 0.0), dim=1)
            m = (free / (2 * rest).clamp_min(1e-150)).clamp_min(1e-150)
        return m

    def _multiplier_l1(self, a: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """The slope of the last pixel that the radius reaches, in descending order of slope."""
        size, order = a.abs().sort(1, descending=True)
        room = torch.where(a > 0, -down, up).gather(1, order)
        over = room.cumsum(1) >= self.radius
        at = over.to(torch.int8).argmax(1, keepdim=True)
        return torch.where(over.any(1), size.gather(1, at)[:, 0], torch.zeros_like(size[:, 0]))
