"""Hard thresholds: pixels become 0 or 1, or one of a few even values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform, register_defense
from tempering.defenses.learned_thresholds import stable_thresholds
from tempering.defenses.requirements import whole_number

Values = float | Sequence[float | Sequence[float]]
"""One threshold; or one for each channel, or several increasing ones for each channel."""


@register_defense("threshold")
class Threshold(Transform):
    """Pixels above a value become 1, all others 0; of n values, the share that they exceed.

    A perturbation changes what a network sees only where it takes a pixel across a threshold:
    behind it an L-inf ball is a box of decided and undecided pixels, and certificates are exact in
    the first layer. Most grey pixels of photographs are near the threshold, so it helps on
    drawings and digits alone. The true gradient is 0, so gradients pass straight through (Athalye,
    Carlini and Wagner, 2018, section 4.1.1).

    Attributes:
        at: The value, above 0 and below 1; or one for each channel; or a list of increasing values
            for each channel. A list of one entry holds for all channels.
        learn: Values a channel that `fit` chooses; 0 for those given.

    Raises:
        ModelError: If a value is not between 0 and 1 in float32, values do not increase there, or
            some are given beside `learn`; when run, before values to be learned are.

    Example:
        >>> Threshold(0.4)(torch.tensor([0.2, 0.4, 0.7]))
        tensor([0., 0., 1.])
        >>> Threshold([[0.3, 0.6]])(torch.tensor([[[[0.2, 0.4, 0.7]]]])).flatten()
        tensor([0.0000, 0.5000, 1.0000])
    """

    input_gradient = "straight-through"
    monotone = True
    stepwise = True
    source = "Xu, Evans and Qi, 2018"

    def __init__(self, at: Values = 0.5, learn: int = 0) -> None:
        super().__init__()
        self.at = at
        self.learn = whole_number("threshold learn", learn, 0, 16)
        if self.learn and self.at != 0.5:
            raise ModelError(
                f"threshold learn {self.learn} beside at {at!r}: give one of them; learned values "
                "replace those given"
            )

    @property
    def at(self) -> Values:
        """The values, as given; setting them changes what runs."""
        return self._at

    @at.setter
    def at(self, values: Values) -> None:
        self._steps, self._at = _checked(values), _listed(values)

    def extra_repr(self) -> str:
        """The values, or how many are to be learned."""
        return f"learn={self.learn}" if self.learn else f"at={self.at}"

    def fit(self, x: Tensor, low: Tensor, high: Tensor) -> None:
        """Choose the values between which the fewest pixels are undecided.

        Args:
            x: Training images, shape (n, c, h, w).
            low: Least values that the threat leaves their pixels, shape of x.
            high: Largest values.
        """
        channels = zip(x.unbind(1), low.unbind(1), high.unbind(1), strict=True)
        found = [stable_thresholds(*ends, self.learn) for ends in channels]
        self.at = [values[0] if len(values) == 1 else values for values in found]
        self.learn = 0

    def thresholds(self, shape: tuple[int, int, int]) -> Tensor | None:  # noqa: ARG002
        """One for each channel, shape (channels, 1, 1); None if there are several."""
        return self._steps[0] if len(self._steps) == 1 else None

    def transform(self, x: Tensor) -> Tensor:
        """Images of even values from 0 to 1, shape and dtype of x."""
        if self.learn:
            raise ModelError(
                f"threshold with {self.learn} values to be learned is not fitted: call fit, or "
                "harden a network behind it"
            )
        steps = self._steps.to(x)
        channels = steps.shape[1]
        if channels == 1:
            steps = steps.reshape(-1)
        elif x.shape[-3] != channels:
            raise ModelError(
                f"threshold with {channels} values on images of {x.shape[-3]} channels: "
                "give one for each channel"
            )
        above = [x > step for step in steps.unbind()]
        if len(above) == 1:
            return above[0].to(x.dtype)
        exceeded: Tensor = torch.stack(above).sum(0)
        return exceeded.to(x.dtype).div(len(above))


def _listed(at: Values) -> Values:
    """Numbers as float, sequences as lists."""
    if not isinstance(at, Sequence):
        return float(at)
    return [
        [float(v) for v in entry] if isinstance(entry, Sequence) else float(entry) for entry in at
    ]


def _checked(at: Values) -> Tensor:
    """Thresholds, shape (values, channels, 1, 1), float64.

    Raises:
        ModelError: If they make no sense.
    """
    channels = list(at) if isinstance(at, Sequence) and not isinstance(at, str) else [at]
    lists = [
        list(entry) if isinstance(entry, Sequence) and not isinstance(entry, str) else [entry]
        for entry in channels
    ]
    if not lists or not all(
        isinstance(value, int | float) and math.isfinite(value) and 0 < _single(value) < 1
        for values in lists
        for value in values
    ):
        raise ModelError(
            f"threshold at {at!r}: give a number above 0 and below 1, or one for each channel"
        )
    rising = all(
        values and all(_single(low) < _single(high) for low, high in pairwise(values))
        for values in lists
    )
    if not rising or len({len(values) for values in lists}) > 1:
        raise ModelError(
            f"threshold at {at!r}: give values that increase in float32, as many for each channel "
            "as for others"
        )
    return torch.tensor(lists, dtype=torch.float64).T[..., None, None]


def _single(value: float) -> float:
    """As images in float32 are compared with it."""
    return torch.tensor(value, dtype=torch.float32).item()
