"""Label flips of the samples that are hardest to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.network_answers import log_probabilities
from tempering.poisoning.poisons.task import Task


@dataclass(frozen=True)
class HardLabelFlip(Poison):
    """Give the samples with the smallest margin the label of the most likely wrong class.

    The label noise that is hardest to tell from honest mistakes: it depends on the image (Chen,
    Ye, Chen, Zhao and Heng, 'Beyond class-conditional assumption', 2021). The margin is that of a
    network trained on the clean data.
    """

    name: ClassVar[str] = "label-flip-hard"
    source: ClassVar[str] = "Chen, Ye, Chen, Zhao and Heng, 2021"
    changes: ClassVar[str] = "labels"
    needs_network: ClassVar[bool] = True

    def craft(self, task: Task) -> Crafted:
        """Relabel in the order of the margin."""
        likely = log_probabilities(task.network(), task.data)
        true = task.data.y[:, None]
        margin = likely.gather(1, true)[:, 0]
        wrong = likely.scatter(1, true, -torch.inf)
        margin = margin - wrong.amax(1)
        everyone = torch.ones(len(margin), dtype=torch.bool)
        rows = task.first(margin.argsort(stable=True), everyone, "are there")
        return Crafted(rows, y=wrong[rows].argmax(1), detail={"margin": margin[rows]})
