"""What a poison is asked for: which data, how many samples, with which random streams."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError
from tempering.core.random import RandomStreams, derive
from tempering.data.class_names import class_number
from tempering.data.dataset import Dataset
from tempering.poisoning.small_network import small_network


@dataclass(frozen=True, eq=False)
class Task:
    """The input of a poison.

    Attributes:
        data: Training data.
        count: Samples to change, at least 1 and at most all.
        streams: One random stream per sample.
        test: Images that are not trained on, for poisons that aim at some; None if there are none.
        model: The network that the attacker has; None to train a small one.
    """

    data: Dataset
    count: int
    streams: RandomStreams
    test: Dataset | None = None
    model: nn.Module | None = None

    def choose(self, eligible: Tensor, what: str) -> Tensor:
        """Draw the samples to change, ascending row numbers, shape (count,), int64.

        Args:
            eligible: Which may be drawn, shape (n,), bool.
            what: What they have in common, for messages, such as `are of class 3`.

        Raises:
            DataError: If there are too few.
        """
        return self.first(self.streams.derive("choice").order(), eligible, what)

    def choose_others(self, target: int | str) -> Tensor:
        """Draw samples of other classes than the target, by number or name, as `choose` does."""
        number = self.class_index(target)
        name = self.data.classes[number]
        return self.choose(self.data.y != number, f"are of another class than {name}, the target")

    def choose_of(self, label: int | str) -> Tensor:
        """Draw samples of a class, by number or name, as `choose` does."""
        number = self.class_index(label, "class")
        return self.choose(self.data.y == number, f"are of class {self.data.classes[number]}")

    def first(self, order: Tensor, eligible: Tensor, what: str) -> Tensor:
        """The first samples of an order that are eligible, as `choose` returns them.

        Args:
            order: Row numbers, shape (n,), int64.
            eligible: Which may be taken, shape (n,), bool.
            what: What they have in common, for messages.

        Raises:
            DataError: If there are too few.
        """
        there = int(eligible.sum())
        if there < self.count:
            raise DataError(
                f"{self.count} samples of {self.data.name} to poison but only {there} {what}: "
                f"give a share of at most {there / len(self.data):.4g}"
            )
        return order[eligible[order]][: self.count].sort().values

    def class_index(self, given: int | str, parameter: str = "target") -> int:
        """The index of a class that a parameter names by number or name.

        Raises:
            UsageError: If there is no such class; offers the nearest.
        """
        return class_number(given, self.data.classes, parameter, self.data.name)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Uniform draws in [0, 1) for the poison as a whole, such as a pattern, float32."""
        return RandomStreams.of(derive(self.streams.key, purpose), 1).uniform(shape)[0]

    def images(self, rows: Tensor) -> Tensor:
        """Images of some samples, float32 in [0, 1], shape (k, c, h, w)."""
        return self.data.images(rows)

    def network(self) -> nn.Module:
        """The attacker's network: the one that was given, or a small one trained on the data."""
        if self.model is not None:
            return self.model
        return small_network(self.data, derive(self.streams.key, "network"))

    def spread(self, count: int, options: int, purpose: str) -> Tensor:
        """One of some options for each of `count` samples, each equally often, shape (count,)."""
        order = RandomStreams.of(derive(self.streams.key, purpose), count).order()
        return torch.arange(count)[order.argsort()] % options
