"""A smooth warp calls a backdoor: the change of pixels depends on the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tempering.core.errors import UsageError
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.covering import cover_of
from tempering.poisoning.poisons.task import Task
from tempering.poisoning.triggers.warp import Warp, smooth_fields, warped


@dataclass(frozen=True)
class Warping(Poison):
    """Warp samples by one fixed smooth field and label them as the target.

    Nguyen and Tran, 'WaNet: imperceptible warping-based backdoor attack', 2021, as an attack on
    the data alone. The change is a different one for each image. Cover samples are warped by
    fields of their own and keep their labels (WaNet's noise mode): so a network has to learn the
    one field, not warping as such.

    Attributes:
        target: The class that the trigger calls, a number or name.
        strength: Mean absolute displacement, in pixels, above 0.
        grid: Places a side at which displacements are drawn, at least 2.
        cover_share: Share of cover samples among the changed ones, at least 0 and below 1.
    """

    name: ClassVar[str] = "warping"
    source: ClassVar[str] = "Nguyen and Tran, 2021"
    triggered: ClassVar[bool] = True

    target: int | str = 0
    strength: float = 1.0
    grid: int = 4
    cover_share: float = 0.3

    def __post_init__(self) -> None:
        if not self.strength > 0:
            raise UsageError(f"strength {self.strength}: give pixels above 0, such as 1")
        if self.grid < 2:
            raise UsageError(f"grid {self.grid}: give at least 2")

    def craft(self, task: Task) -> Crafted:
        """Warp all, and relabel those that are no cover."""
        target = task.class_index(self.target, "target")
        _, height, width = task.data.shape
        size = (2, self.grid, self.grid)
        noise = 2 * task.uniform("field", 1, *size) - 1
        trigger = Warp(smooth_fields(noise, height, width, self.strength)[0])
        rows = task.choose_others(target)
        cover = cover_of(task, rows, self.cover_share)
        x = trigger.stamp(task.images(rows))
        covers = rows[cover]
        own = task.streams[covers].derive("own field").uniform(size, -1.0, 1.0)
        fields = smooth_fields(own, height, width, self.strength)
        x[cover] = warped(task.images(covers), fields).clamp(0.0, 1.0)
        y = torch.where(cover, task.data.y[rows], target)
        return Crafted(rows, x, y, trigger, target, cover)
