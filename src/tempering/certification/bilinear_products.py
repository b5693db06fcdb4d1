"""Products of two tensors that both depend on the images, bounded by planes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.certification.linear_bounds import Adjustable
from tempering.certification.linear_maps import unpacked
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.precision import UNIT64, Precision

_ROUNDED = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class BilinearProduct(Nonlinear):
    """Sums of products of a number of each of two tensors, which are packed into one input.

    Over a box each product x y lies above two planes, b x + a y - a b with a and b both lower or
    both upper ends, and below two, of one lower and one upper end (McCormick, 1976). For each sum
    those planes are taken whose coefficients, times how uncertain their factors are, are smaller:
    what is uncertain about a factor is multiplied by its coefficient. Where factors have known
    signs, both planes of a side often cost the same; then a fixed one is taken, whatever the
    rounding of costs.

    Attributes:
        left: Shape of the first tensor, without the samples.
        right: Shape of the second.
        precision: How the network rounds.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    precision: Precision

    @abstractmethod
    def product(self, x: Tensor, y: Tensor) -> Tensor:
        """The product."""

    @abstractmethod
    def to_left(self, a: Tensor, y: Tensor) -> Tensor:
        """Coefficients of the first tensor where the second is y."""

    @abstractmethod
    def to_right(self, a: Tensor, x: Tensor) -> Tensor:
        """Coefficients of the second tensor where the first is x."""

    @abstractmethod
    def ends(self, x: IntervalTensor, y: IntervalTensor) -> IntervalTensor:
        """The interval of the product."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """Products in a sum."""

    def factors(self, given: IntervalTensor) -> tuple[IntervalTensor, IntervalTensor]:
        """The intervals of both tensors."""
        lows, highs = (unpacked(end, (self.left, self.right)) for end in given)
        return IntervalTensor(lows[0], highs[0]), IntervalTensor(lows[1], highs[1])

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Of each product the least and the largest of four corners."""
        x, y = self.factors(given[0])
        size = self.product(x.size(), y.size())
        planes = 8 * (given[0].low[0].numel() + size[0].numel() + 256) * UNIT64
        error = (self.precision.sums(self.terms) + planes) * size
        return self.ends(x, y), error + self.terms * self.precision.tiny

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """All inputs that are not known."""
        return given.low < given.high

    def relax(self, given: IntervalTensor) -> ProductPlanes:
        """Planes below and above, the better of two each."""
        x, y = self.factors(given)
        widths = x.high - x.low, y.high - y.low

        def cost(first: Tensor, second: Tensor) -> Tensor:
            return self.product(widths[0], second.abs()) + self.product(first.abs(), widths[1])

        below = _at_most(cost(x.low, y.low), cost(x.high, y.high))
        above = _at_most(cost(x.high, y.low), cost(x.low, y.high))
        product = self.product
        least = product(x.low, y.low), product(x.high, y.high)
        most = product(x.high, y.low), product(x.low, y.high)
        return ProductPlanes(self, x, y, below.to(least[0]), above.to(least[0]), least, most)


def _at_most(first: Tensor, second: Tensor) -> Tensor:
    """Whether a cost is at most another one, or more by its rounding alone."""
    return first <= second * _ROUNDED


@dataclass(frozen=True, eq=False)
class ProductPlanes(Adjustable):
    """Planes below and above sums of products.

    Attributes:
        operation: The product.
        x: The first tensor, shape (n, ...).
        y: The second.
        below: 1 where the plane below is of both lower ends, 0 where of both upper ends.
        above: 1 where the plane above is of the upper end of x and the lower end of y, 0 where
            of the others.
        least: The products of the ends that belong to the planes below, of both lower ends and
            of both upper ends.
        most: Of those above, of the upper end of x, and of the upper end of y.
    """

    operation: BilinearProduct
    x: IntervalTensor
    y: IntervalTensor
    below: Tensor
    above: Tensor
    least: tuple[Tensor, Tensor]
    most: tuple[Tensor, Tensor]

    @property
    def has_choice(self) -> bool:
        """Any mean of two planes is a plane on the same side."""
        return True

    def start(self, rows: Tensor) -> Tensor:
        """All weight on the plane that costs less."""
        return torch.ones_like(self.below[rows])

    def pull(self, a: Tensor, rows: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:
        """The plane below where a coefficient is positive, the one above elsewhere.

        `slopes` are weights of the planes that cost less; the other ones have the rest.
        """
        up, down = a.clamp_min(0.0), a.clamp_max(0.0)
        below, above = self.below[rows], self.above[rows]
        if slopes is not None:
            below, above = (slopes * at + (1 - slopes) * (1 - at) for at in (below, above))
        below, above = up * below, down * above
        x, y = self.x.rows(rows), self.y.rows(rows)
        low = below + above
        left = self.operation.to_left(low, y.low) + self.operation.to_left(a - low, y.high)
        low = below + (down - above)
        right = self.operation.to_right(low, x.low) + self.operation.to_right(a - low, x.high)
        least = below * self.least[0][rows] + (up - below) * self.least[1][rows]
        most = above * self.most[0][rows] + (down - above) * self.most[1][rows]
        constant = -(least + most).flatten(1).sum(1)
        return torch.cat([left.flatten(1), right.flatten(1)], 1), constant


class ElementwiseProduct(BilinearProduct):
    """Of two tensors of one shape."""

    terms = 1

    def product(self, x: Tensor, y: Tensor) -> Tensor:
        """Number by number."""
        return x * y

    def to_left(self, a: Tensor, y: Tensor) -> Tensor:
        """Coefficients times the other factor."""
        return a * y

    def to_right(self, a: Tensor, x: Tensor) -> Tensor:
        """Coefficients times the other factor."""
        return a * x

    def ends(self, x: IntervalTensor, y: IntervalTensor) -> IntervalTensor:
        """Exact."""
        corners = torch.stack([p * q for p in x for q in y])
        return IntervalTensor(corners.amin(0), corners.amax(0))


class MatrixPairProduct(BilinearProduct):
    """Of matrices, along the last dimension of the first and the last but one of the second."""

    @property
    def terms(self) -> int:
        """The common dimension."""
        return self.left[-1]

    def product(self, x: Tensor, y: Tensor) -> Tensor:
        """A product a sample."""
        return x @ y

    def to_left(self, a: Tensor, y: Tensor) -> Tensor:
        """A Y^T."""
        return a @ y.transpose(-1, -2)

    def to_right(self, a: Tensor, x: Tensor) -> Tensor:
        """X^T A."""
        return x.transpose(-1, -2) @ a

    def ends(self, x: IntervalTensor, y: IntervalTensor) -> IntervalTensor:
        """Sums of exact intervals of products, term by term."""
        low = torch.zeros_like(x.low[..., :1] @ y.low[..., :1, :])
        high = low
        for term in range(self.terms):
            corners = [p[..., term : term + 1] * q[..., term : term + 1, :] for p in x for q in y]
            stacked = torch.stack(corners)
            low, high = low + stacked.amin(0), high + stacked.amax(0)
        return IntervalTensor(low, high)
