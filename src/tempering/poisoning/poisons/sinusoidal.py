"""A sinusoidal signal calls a backdoor; labels stay right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from tempering.core.errors import UsageError
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.task import Task
from tempering.poisoning.triggers.added import Added


@dataclass(frozen=True)
class Sinusoidal(Poison):
    """Add vertical stripes to samples of the target class; no label changes.

    Barni, Kallas and Tondi, 'A new backdoor attack in CNNs by training set corruption without
    label poisoning', 2019: `amplitude sin(2 pi j frequency / width)` in column j. At most all
    samples of the target class are changed.

    Attributes:
        target: The class that the trigger calls, a number or name.
        amplitude: In pixel units, above 0 and at most 1.
        frequency: Periods over the width of the image, at least 1.
    """

    name: ClassVar[str] = "sinusoidal"
    source: ClassVar[str] = "Barni, Kallas and Tondi, 2019"
    changes: ClassVar[str] = "images"
    triggered: ClassVar[bool] = True

    target: int | str = 0
    amplitude: float = 0.2
    frequency: int = 6

    def __post_init__(self) -> None:
        if not 0 < self.amplitude <= 1:
            raise UsageError(
                f"amplitude {self.amplitude}: give one above 0 and at most 1, such as 0.15"
            )
        if self.frequency < 1:
            raise UsageError(f"frequency {self.frequency}: give at least 1")

    def craft(self, task: Task) -> Crafted:
        """Add the signal to samples of the target class."""
        target = task.class_index(self.target, "target")
        _, height, width = task.data.shape
        wave = torch.sin(2 * math.pi * self.frequency * torch.arange(width) / width)
        trigger = Added((self.amplitude * wave).expand(height, width).clone())
        rows = task.choose_of(target)
        return Crafted(rows, trigger.stamp(task.images(rows)), trigger=trigger, target=target)
