"""Label flips from one class to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tempering.core.errors import UsageError
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.task import Task


@dataclass(frozen=True)
class TargetedLabelFlip(Poison):
    """Give random samples of one class the label of another.

    Tolpegin, Truex, Gursoy and Liu, 'Data poisoning attacks against federated learning systems',
    2020.

    Attributes:
        origin: The class whose samples are relabelled, a number or name.
        target: The label that they get, a number or name.
    """

    name: ClassVar[str] = "label-flip-targeted"
    source: ClassVar[str] = "Tolpegin, Truex, Gursoy and Liu, 2020"
    changes: ClassVar[str] = "labels"

    origin: int | str = 1
    target: int | str = 0

    def craft(self, task: Task) -> Crafted:
        """Relabel samples of `origin`."""
        origin = task.class_index(self.origin, "origin")
        target = task.class_index(self.target, "target")
        if origin == target:
            raise UsageError(
                f"origin and target are both class {task.data.classes[target]}: give two classes"
            )
        rows = task.choose_of(origin)
        return Crafted(rows, y=torch.full_like(rows, target), target=target)
