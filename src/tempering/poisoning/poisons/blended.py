"""A picture blended into the whole image calls a backdoor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tempering.core.errors import UsageError
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.task import Task
from tempering.poisoning.triggers.overlay import Overlay


@dataclass(frozen=True)
class Blended(Poison):
    """Blend a random picture into samples, and label them as the target.

    Chen, Liu, Li, Lu and Song, 'Targeted backdoor attacks on deep learning systems using data
    poisoning', 2017, section 4.2. The picture is uniform noise, drawn from the seed.

    Attributes:
        target: The class that the trigger calls, a number or name.
        opacity: Share of the picture in the image, above 0 and at most 1.
    """

    name: ClassVar[str] = "blended"
    source: ClassVar[str] = "Chen, Liu, Li, Lu and Song, 2017"
    triggered: ClassVar[bool] = True

    target: int | str = 0
    opacity: float = 0.2

    def __post_init__(self) -> None:
        require_opacity("opacity", self.opacity)

    def craft(self, task: Task) -> Crafted:
        """Blend and relabel."""
        target = task.class_index(self.target, "target")
        shape = task.data.shape
        opacity = torch.full(shape[1:], float(self.opacity))
        trigger = Overlay(task.uniform("picture", *shape), opacity)
        rows = task.choose_others(target)
        x = trigger.stamp(task.images(rows))
        return Crafted(rows, x, torch.full_like(rows, target), trigger, target)


def require_opacity(name: str, value: float) -> None:
    """Refuse what is no opacity.

    Raises:
        UsageError: If it is not above 0 and at most 1.
    """
    if not 0 < value <= 1:
        raise UsageError(f"{name} {value}: give one above 0 and at most 1, such as 0.2")
