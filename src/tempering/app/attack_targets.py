"""The classes that attacked images shall be taken for, as people write them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.errors import DataError
from tempering.core.random import RandomStreams, derive
from tempering.data.class_names import class_number
from tempering.data.dataset import Dataset


@dataclass(frozen=True)
class Aim:
    """Rows of the samples to attack, and their targets if there are some."""

    index: Tensor
    targets: Tensor | None

    def over(self, y: Tensor) -> Tensor:
        """What the attack is told, over all samples: targets, or true classes."""
        return y if self.targets is None else y.index_copy(0, self.index, self.targets)


def check_targets(aim: Aim, data: Dataset, outputs: int) -> None:
    """Refuse targets that are labels, or name no output."""
    y = data.y
    targets = y if aim.targets is None else aim.targets
    if targets.shape != y.shape:
        raise DataError(f"{len(targets)} targets for {len(y)} samples: give one each")
    wrong = ((targets < 0) | (targets >= outputs)).nonzero()[:, 0]
    if len(wrong):
        raise DataError(
            f"target {int(targets[wrong[0]])} for a model of {outputs} outputs: "
            f"give 0 to {outputs - 1}"
        )
    own = (targets == y).nonzero()[:, 0]
    if len(own):
        raise DataError(
            f"target {int(targets[own[0]])} of sample {data.ids.names[int(own[0])]} is its label: "
            "give another class, or leave the sample out"
        )


def aim_at(targets: str | None, data: Dataset, seed: int) -> Aim:
    """Read targets as people write them."""
    everyone = torch.arange(len(data))
    if targets is None:
        return Aim(everyone, None)
    classes, y = len(data.classes), data.y
    if targets == "next":
        return Aim(everyone, (y + 1) % classes)
    if targets == "random":
        streams = RandomStreams(derive(seed, "targets"), data.ids.keys)
        return Aim(everyone, (y + 1 + streams.choice(classes - 1)) % classes)
    names = [name.strip() for name in targets.split(",")]
    numbers = torch.tensor(
        [class_number(name, data.classes, "target", data.name) for name in names]
    )
    if len(numbers) > 1 or len(data) == 1:
        return Aim(everyone, numbers)
    others = (y != numbers[0]).nonzero()[:, 0]
    if not len(others):
        raise DataError(
            f"target {targets!r} is the label of all {len(data)} samples: give another class"
        )
    return Aim(others, numbers.expand(len(others)).clone())
