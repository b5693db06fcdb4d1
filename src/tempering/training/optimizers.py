"""Optimizers as values that build the torch optimizer of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from tempering.core.errors import UsageError

LARGEST = 1e15
"""Largest learning rate and weight decay, whose product is a number in float32."""


@dataclass(frozen=True)
class Optimizer(ABC):
    """Hyperparameters of an optimizer.

    Attributes:
        learning_rate: Peak step size; a schedule scales it.
        weight_decay: L2 penalty, or the decoupled weight decay of AdamW.

    Raises:
        UsageError: If a value makes no sense.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate <= LARGEST:
            raise self._error("learning_rate", f"a positive number of at most {LARGEST:g}")
        if not 0 <= self.weight_decay <= LARGEST:
            raise self._error("weight_decay", f"a number from 0 to {LARGEST:g}")

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer of some parameters."""

    def _error(self, field: str, right: str) -> UsageError:
        name, value = type(self).__name__.lower(), getattr(self, field)
        return UsageError(f"{name}: {field} = {value:g}: give {right}")


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.AdamW`."""
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015); weight decay is added to the gradient."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.Adam`."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    Attributes:
        momentum: Share of the velocity that a step keeps.
        nesterov: Whether the gradient is taken ahead of the step.

    Raises:
        UsageError: If a value makes no sense.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise self._error("momentum", "a number in [0, 1)")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.SGD`."""
        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
        )


OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}
"""Name in a recipe -> optimizer."""
