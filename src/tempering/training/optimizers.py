"""Optimizers as values that build the torch optimizer of a network, and weight averaging."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from tempering.core.errors import UsageError


class Optimizer(Protocol):
    """Hyperparameters of an optimizer."""

    @property
    def learning_rate(self) -> float:
        """Peak step size; a schedule scales it."""
        ...

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer of some parameters."""
        ...


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Attributes:
        learning_rate: Peak step size.
        weight_decay: Decoupled weight decay.

    Raises:
        UsageError: If a value makes no sense.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("adamw", self.learning_rate, self.weight_decay)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.AdamW`."""
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015); weight decay is added to the gradient.

    Attributes:
        learning_rate: Peak step size.
        weight_decay: L2 penalty.

    Raises:
        UsageError: If a value makes no sense.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("adam", self.learning_rate, self.weight_decay)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.Adam`."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Attributes:
        learning_rate: Peak step size.
        weight_decay: L2 penalty.
        momentum: Share of the velocity that a step keeps.
        nesterov: Whether the gradient is taken ahead of the step.

    Raises:
        UsageError: If a value makes no sense.
    """

    learning_rate: float = 0.1
    weight_decay: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check("sgd", self.learning_rate, self.weight_decay)
        if not 0 <= self.momentum < 1:
            raise UsageError(f"sgd: momentum = {self.momentum:g}: give a number in [0, 1)")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.SGD`."""
        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class EMA:
    """Exponential moving average of the weights, with a shorter memory at the beginning.

    Attributes:
        decay: Share that the average keeps at a step; 0 for no averaging.

    Raises:
        UsageError: If the decay is no share.
    """

    decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise UsageError(f"ema: decay = {self.decay:g}: give a number in [0, 1)")

    def at(self, step: int) -> float:
        """The share that the average keeps after `step` steps."""
        return min(self.decay, (1 + step) / (10 + step))


OPTIMIZERS: dict[str, type[AdamW | Adam | SGD]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}
"""Name in a recipe -> optimizer."""


def _check(name: str, learning_rate: float, weight_decay: float) -> None:
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UsageError(f"{name}: learning_rate = {learning_rate:g}: give a positive number")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise UsageError(f"{name}: weight_decay = {weight_decay:g}: give a number of at least 0")
