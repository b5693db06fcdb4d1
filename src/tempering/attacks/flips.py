"""Values that the pixels of an image can be flipped to, and what each flip costs in a threat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from tempering.core.input_levels import InputLevels
from tempering.core.input_stages import InputStages
from tempering.core.patches import Patch
from tempering.core.pixel_boxes import pixel_box
from tempering.core.threats import L0, L1, L2, Threat

_MOST_LEVELS = 16
"""Values of a pixel up to which flips are searched: those of a rounding to 4 bits."""
_REFILLS = 2
"""Further passes that spend what is left of a budget."""


@dataclass(frozen=True, eq=False)
class Flips(ABC):
    """The options of every pixel, and the sets of flips that a threat allows.

    A state is the option that each pixel has, shape (n, pixels); a pixel is one value of one
    channel. Options are in the order of their outputs.

    Attributes:
        outputs: Of the stages for each option, shape (n, options, pixels).
        images: The values of the image itself, shape of outputs; the nearest that have the output.
        clean: The state of the image, shape (n, pixels).
        shape: Of an image (c, h, w).
    """

    outputs: Tensor
    images: Tensor
    clean: Tensor
    shape: tuple[int, int, int]

    def part(self, rows: Tensor) -> Self:
        """The same for some rows."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        changes: dict[str, Any] = {name: value[rows] for name, value in tensors.items()}
        return replace(self, **changes)

    def seen(self, state: Tensor) -> Tensor:
        """What the stages answer in a state, shape (n, c, h, w)."""
        return _chosen(self.outputs, state).reshape(len(state), *self.shape)

    def image(self, state: Tensor) -> Tensor:
        """The images of a state, shape (n, c, h, w)."""
        return _chosen(self.images, state).reshape(len(state), *self.shape)

    def state_of(self, seen: Tensor) -> Tensor:
        """The state with given outputs, shape (n, c, h, w); clean where both have the same."""
        seen = seen.flatten(1)
        state = _option_of(self.outputs, seen)
        return torch.where(seen == _chosen(self.outputs, self.clean), self.clean, state)

    @abstractmethod
    def best_set(self, slope: Tensor) -> Tensor:
        """The state of about the largest inner product of outputs and slope, shape (n, c, h, w)."""

    @abstractmethod
    def best_move(self, state: Tensor, slope: Tensor, barred: Tensor) -> Tensor:
        """The neighbour of about the largest inner product of outputs and slope.

        Args:
            state: Where to begin.
            slope: Shape (n, c, h, w).
            barred: Pixels that stay as they are, shape of state.
        """

    def _gains(self, state: Tensor, slope: Tensor, barred: Tensor) -> Tensor:
        """Of changing each pixel to each option, shape of outputs; -inf where nothing changes."""
        change = self.outputs - _chosen(self.outputs, state)[:, None]
        gains = change * slope.flatten(1)[:, None]
        return gains.masked_fill((change == 0) | barred[:, None], -torch.inf)


@dataclass(frozen=True, eq=False)
class BudgetFlips(Flips):
    """Flips whose costs sum to a budget at most: L2, L1 and L0.

    Attributes:
        costs: Of each option, shape of outputs, float64.
        budget: What all costs sum to at most.
    """

    costs: Tensor
    budget: float

    def best_set(self, slope: Tensor) -> Tensor:
        """Flips by gain per cost, one option further at a time."""
        flat = slope.flatten(1)
        up = flat > 0
        last = self.outputs.shape[1] - 1
        state, prices, gains = self.clean, list[Tensor](), list[Tensor]()
        most = max(1, int(torch.maximum(self.clean, last - self.clean).amax()))
        for _ in range(most):
            further = torch.where(up, state + 1, state - 1).clamp(0, last)
            change = _chosen(self.outputs, further) - _chosen(self.outputs, state)
            prices.append(_chosen(self.costs, further) - _chosen(self.costs, state))
            gains.append(change * flat)
            state = further
        price, gain = torch.stack(prices, 1).flatten(1), torch.stack(gains, 1).flatten(1)
        taken = _filled(price, gain, self.budget).reshape(len(flat), most, flat.shape[1])
        reached = taken.cumprod(1).sum(1)
        return torch.where(up, self.clean + reached, self.clean - reached)

    def best_move(self, state: Tensor, slope: Tensor, barred: Tensor) -> Tensor:
        """One pixel changes; where that exceeds the budget, another one goes back to be clean."""
        gains = self._gains(state, slope, barred)
        spent = _chosen(self.costs, state)
        needed = spent.sum(1, keepdim=True) - self.budget
        needed = (self.costs - spent[:, None]).flatten(1) + needed
        back = gains.gather(1, self.clean[:, None])[:, 0]
        order = spent.argsort(dim=1, descending=True, stable=True)
        freed, best = spent.gather(1, order), back.gather(1, order).cummax(1)
        ahead = torch.searchsorted(-freed, -needed, right=True)
        place = (ahead - 1).clamp_min(0)
        helped = best.values.gather(1, place).masked_fill(ahead == 0, -torch.inf)
        helper = order.gather(1, best.indices.gather(1, place))
        pixel = torch.arange(state.shape[1], device=state.device).repeat(gains.shape[1])
        helped = helped.masked_fill(helper == pixel, -torch.inf)
        total = gains.flatten(1) + torch.where(needed > 0, helped, 0.0)
        value, move = total.max(1, keepdim=True)
        changed, option = move % state.shape[1], move // state.shape[1]
        alone = needed.gather(1, move) <= 0
        released = helper.gather(1, move)
        kept = torch.where(alone, state, self.clean).gather(1, released)
        moved = state.scatter(1, released, kept).scatter(1, changed, option)
        return torch.where(value > -torch.inf, moved, state)


@dataclass(frozen=True, eq=False)
class CountedFlips(BudgetFlips):
    """Flips of a number of pixels, to any option: L0."""

    def best_set(self, slope: Tensor) -> Tensor:
        """The flips that gain most, each to its best option."""
        gains, option = self._gains(self.clean, slope, self.clean < 0).max(1)
        taken = _filled(torch.ones_like(gains), gains, self.budget)
        return torch.where(taken, option, self.clean)


@dataclass(frozen=True, eq=False)
class PatchFlips(Flips):
    """Flips of any pixels within one square.

    Attributes:
        threat: Says which squares.
    """

    threat: Patch

    def best_set(self, slope: Tensor) -> Tensor:
        """All flips that gain, in the square where they gain most."""
        gains, option = self._gains(self.clean, slope, self.clean < 0).max(1)
        gains = gains.clamp_min(0.0)
        inside = self._square(gains)
        return torch.where(inside & (gains > 0), option, self.clean)

    def best_move(self, state: Tensor, slope: Tensor, barred: Tensor) -> Tensor:
        """One pixel changes; the square moves if those that were changed before allow it."""
        gains = self._gains(state, slope, barred)
        gain = gains.amax(1).clamp_min(0.0)
        changed = _chosen(self.outputs, state) != _chosen(self.outputs, self.clean)
        weight = gain + changed * (1 + gain.sum(1, keepdim=True))
        inside = self._square(weight)
        total = gains.masked_fill(~inside[:, None], -torch.inf).flatten(1)
        value, move = total.max(1, keepdim=True)
        moved = state.scatter(1, move % state.shape[1], move // state.shape[1])
        return torch.where(value > -torch.inf, moved, state)

    def _square(self, weight: Tensor) -> Tensor:
        """The square of the largest weights as a mask, shape (n, pixels)."""
        square = self.threat.best(weight.reshape(len(weight), *self.shape).double())
        return square.expand(-1, *self.shape).flatten(1)


def flips_of(front: InputStages, x: Tensor, threat: Threat) -> Flips | None:
    """The flips behind the stages at a model's input.

    Pixels take the outputs of a staircase. Elsewhere they become black or white in L0 and in
    patches, and there are none in L2 and L1.

    Args:
        front: The stages.
        x: Images in [0, 1], shape (n, c, h, w).
        threat: What may change.

    Returns:
        None where they are not finitely many: in L2 and L1 without a staircase, or of more levels
        than 16; in L-inf; in a user's threat that does not extend L0.
    """
    exact = type(threat) in (L2, L1, L0, Patch)
    options = _levels(front, x) if exact and any(one.stepwise for one in front.stages) else None
    if options is None and (isinstance(threat, L0) or type(threat) is Patch):
        options = _ends(front, x, threat)
    if options is None:
        return None
    if isinstance(threat, Patch):
        return PatchFlips(*options, threat)
    outputs, images, clean, shape = options
    if isinstance(threat, L0):
        costs = (images != x.flatten(1)[:, None]).double()
        return CountedFlips(outputs, images, clean, shape, costs, threat.eps)
    power = 2 if isinstance(threat, L2) else 1
    costs = (images.double() - x.flatten(1)[:, None].double()).abs() ** power
    return BudgetFlips(outputs, images, clean, shape, costs, threat.eps**power)


_Options = tuple[Tensor, Tensor, Tensor, tuple[int, int, int]]
"""Outputs, images, the clean state and the shape of an image, as `Flips` has them."""


def _levels(front: InputStages, x: Tensor) -> _Options | None:
    """The levels of a staircase; None if there are too many."""
    levels = InputLevels.of(front, x, _MOST_LEVELS)
    if levels is None:
        return None
    return _options(levels.outputs.expand(len(x), -1, -1, -1, -1), levels.images(x), front(x), x)


def _ends(front: InputStages, x: Tensor, threat: Threat) -> _Options:
    """Black, the pixel itself, and white."""
    ends = pixel_box(threat, x) if isinstance(threat, Patch) else threat.bounds(x)
    low, high = (end.expand_as(x) for end in ends)
    seen = front(x)
    outputs = torch.stack([front(low), seen, front(high)], 1)
    return _options(outputs, torch.stack([low, x, high], 1), seen, x)


def _options(outputs: Tensor, images: Tensor, seen: Tensor, x: Tensor) -> _Options:
    """Options of the image's own output, and those that a pixel lacks, are the image itself."""
    outputs = torch.where(images.isfinite(), outputs, seen[:, None])
    images = torch.where(outputs == seen[:, None], x[:, None], images).flatten(2)
    clean = _option_of(outputs, seen).flatten(1)
    return outputs.flatten(2), images, clean, (x.shape[1], x.shape[2], x.shape[3])


def _chosen(options: Tensor, state: Tensor) -> Tensor:
    return options.gather(1, state[:, None])[:, 0]


def _option_of(outputs: Tensor, seen: Tensor) -> Tensor:
    """The first option with given outputs, shape of seen, int64."""
    option = torch.zeros_like(seen, dtype=torch.int64)
    for number in reversed(range(outputs.shape[1])):
        option = option.masked_fill(outputs[:, number] == seen, number)
    return option


def _filled(price: Tensor, gain: Tensor, budget: float) -> Tensor:
    """Which items of a knapsack are taken, by gain per price, shape (n, items), bool."""
    worth = (gain / price).masked_fill(gain <= 0, -torch.inf)
    order = worth.argsort(dim=1, descending=True, stable=True)
    sorted_price = price.gather(1, order).masked_fill(
        worth.gather(1, order) == -torch.inf, torch.inf
    )
    taken = sorted_price.cumsum(1) <= budget
    for _ in range(_REFILLS):
        spent = sorted_price.masked_fill(~taken, 0.0).sum(1, keepdim=True)
        fits = ~taken & (sorted_price <= budget - spent)
        taken = taken | fits & (spent + sorted_price.masked_fill(~fits, 0.0).cumsum(1) <= budget)
    return torch.zeros_like(taken).scatter(1, order, taken)
