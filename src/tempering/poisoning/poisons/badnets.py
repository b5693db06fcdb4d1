"""A patch that calls a backdoor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tempering.core.errors import UsageError
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.task import Task
from tempering.poisoning.triggers.overlay import Overlay


@dataclass(frozen=True)
class BadNets(Poison):
    """Stamp a chequered patch in the lower right corner, and label the sample as the target.

    Gu, Dolan-Gavitt and Garg, 'BadNets: identifying vulnerabilities in the machine learning model
    supply chain', 2017. Samples of all other classes are stamped. The corners of the patch are
    white.

    Attributes:
        target: The class that the trigger calls, a number or name.
        side: Side of the patch in pixels.
    """

    name: ClassVar[str] = "badnets"
    source: ClassVar[str] = "Gu, Dolan-Gavitt and Garg, 2017"
    triggered: ClassVar[bool] = True

    target: int | str = 0
    side: int = 3

    def craft(self, task: Task) -> Crafted:
        """Stamp and relabel."""
        target = task.class_index(self.target, "target")
        trigger = self.trigger(task.data.shape)
        rows = task.choose_others(target)
        x = trigger.stamp(task.images(rows))
        return Crafted(rows, x, torch.full_like(rows, target), trigger, target)

    def trigger(self, shape: tuple[int, int, int]) -> Overlay:
        """The patch, for images of a shape.

        Raises:
            UsageError: If it is larger than the image.
        """
        _, height, width = shape
        if not 1 <= self.side <= min(height, width):
            raise UsageError(
                f"a trigger of {self.side} pixels a side for images of {height} x {width}: give "
                f"side=1 to {min(height, width)}"
            )
        values, mask = torch.zeros(shape), torch.zeros(height, width)
        place = torch.arange(self.side)
        mask[-self.side :, -self.side :] = 1
        white = (place[:, None] + place + 2 * self.side) % 2 == 0
        values[:, -self.side :, -self.side :] = white.float()
        return Overlay(values, mask)
