"""A backdoor that avoids latent separation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.blended import require_opacity
from tempering.poisoning.poisons.covering import cover_of
from tempering.poisoning.poisons.task import Task
from tempering.poisoning.triggers.overlay import Overlay


@dataclass(frozen=True)
class AdaptiveBlend(Poison):
    """Blend random parts of a picture; half of the samples keep their right label.

    Qi, Xie, Li, Mahloujifar and Mittal, 'Revisiting the assumption of latent separability for
    backdoor defenses', 2023, Adap-Blend. The picture is cut into tiles, and each sample gets its
    own random part of them. Payload samples are labelled as the target; cover samples keep their
    labels, so that features of poisoned and clean samples do not fall apart. At test time the
    whole picture is blended in, more opaque than in training.

    Attributes:
        target: The class that the trigger calls, a number or name.
        opacity: In training, above 0 and at most 1.
        test_opacity: At test time.
        tiles: Tiles a side, at least 1.
        kept: Share of the tiles that a sample gets, above 0 and at most 1.
        cover_share: Share of cover samples among the changed ones, at least 0 and below 1.
    """

    name: ClassVar[str] = "adaptive-blend"
    source: ClassVar[str] = "Qi, Xie, Li, Mahloujifar and Mittal, 2023"
    triggered: ClassVar[bool] = True

    target: int | str = 0
    opacity: float = 0.15
    test_opacity: float = 0.2
    tiles: int = 4
    kept: float = 0.5
    cover_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("opacity", "test_opacity", "kept"):
            require_opacity(name, getattr(self, name))
        if self.tiles < 1:
            raise UsageError(f"tiles {self.tiles}: give at least 1")

    def craft(self, task: Task) -> Crafted:
        """Blend parts, and relabel the payload."""
        target = task.class_index(self.target, "target")
        shape = task.data.shape
        picture = task.uniform("picture", *shape)
        trigger = Overlay(picture, torch.full(shape[1:], float(self.test_opacity)))
        rows = task.choose_others(target)
        cover = cover_of(task, rows, self.cover_share)
        mask = self.opacity * self._parts(task, rows, shape[1], shape[2])[:, None]
        x = task.images(rows) * (1 - mask) + picture * mask
        y = torch.where(cover, task.data.y[rows], target)
        return Crafted(rows, x.clamp(0.0, 1.0), y, trigger, target, cover)

    def _parts(self, task: Task, rows: Tensor, height: int, width: int) -> Tensor:
        """Which pixels of the picture each sample gets, shape (k, h, w), float."""
        total = self.tiles**2
        drawn = task.streams[rows].derive("parts").bits(total).argsort(1).argsort(1)
        kept = (drawn < max(1, round(self.kept * total))).reshape(-1, self.tiles, self.tiles)
        row = torch.arange(height) * self.tiles // height
        column = torch.arange(width) * self.tiles // width
        return kept[:, row][:, :, column].float()
