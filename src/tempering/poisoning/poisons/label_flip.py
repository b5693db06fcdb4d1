"""Random label flips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.task import Task


@dataclass(frozen=True)
class LabelFlip(Poison):
    """Give random samples a random wrong label.

    Biggio, Nelson and Laskov, 'Support vector machines under adversarial label noise', 2011.
    """

    name: ClassVar[str] = "label-flip"
    source: ClassVar[str] = "Biggio, Nelson and Laskov, 2011"
    changes: ClassVar[str] = "labels"

    def craft(self, task: Task) -> Crafted:
        """Move each label by 1 to classes - 1 classes."""
        rows = task.choose(torch.ones(len(task.data), dtype=torch.bool), "are there")
        moved = 1 + task.streams[rows].derive("label").choice(task.data.num_classes - 1)
        return Crafted(rows, y=(task.data.y[rows] + moved) % task.data.num_classes)
