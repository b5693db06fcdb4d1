"""A network whose members vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError, UsageError
from tempering.models.blueprint import Blueprint
from tempering.models.classifier import BaseClassifier

MOST_PARTS = 10_000


class Voting(BaseClassifier):
    """Members that each vote for one class; the smaller class wins a tie.

    Logits are the numbers of votes, lowered by less than half a vote so that ties are decided.
    Votes have no gradient: the backward pass is that of the sum of the members' probabilities.

    Attributes:
        members: The networks, all with the same outputs.

    Raises:
        ModelError: If there are no members.

    Example:
        >>> net = Voting([nn.Sequential(nn.Flatten(), nn.Linear(4, 2))] * 3, (1, 2, 2), 2)
        >>> net.votes(torch.rand(5, 1, 2, 2)).sum(1).tolist()
        [3, 3, 3, 3, 3]
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        shape: tuple[int, int, int],
        classes: int,
        adversarial_class: bool = False,
    ) -> None:
        super().__init__()
        if not members:
            raise ModelError("a vote without members: give at least 1")
        self.members = nn.ModuleList(members)
        self.classes = classes
        self.adversarial_class = classes if adversarial_class else None
        self.outputs = classes + int(adversarial_class)
        self.architecture = self._described(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w)."""
        answers = torch.stack([member(x) for member in self.members])
        soft = answers.float().softmax(2).sum(0)
        hard = self._counted(answers).float()
        order = torch.arange(self.outputs, device=x.device) * (0.5 / self.outputs)
        return hard - order + (soft - soft.detach())

    @torch.no_grad()
    def votes(self, x: Tensor) -> Tensor:
        """Votes for each output, shape (n, outputs), int64."""
        return self._counted(torch.stack([member(x) for member in self.members]))

    def _counted(self, answers: Tensor) -> Tensor:
        chosen = answers.argmax(2)
        return nn.functional.one_hot(chosen, self.outputs).sum(0)

    def _described(self, shape: tuple[int, int, int]) -> dict[str, Any] | str:
        own = getattr(self.members[0], "architecture", None)
        if not isinstance(own, dict):
            return type(self).__name__
        options = {
            "member": {"name": own["name"], "options": own["options"]},
            "parts": len(self.members),
            "adversarial_class": self.adversarial_class is not None,
        }
        return Blueprint(
            name="voting", shape=shape, classes=self.classes, options=options
        ).as_json()


def build_voting(
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    member: Mapping[str, Any] | None = None,
    parts: int = 3,
    adversarial_class: bool = False,
) -> Voting:
    """A vote of registered networks with fresh weights.

    Args:
        shape: Channels, height and width of the images.
        classes: Classes of the data.
        member: `{"name": ..., "options": {...}}`; by default a small CNN.
        parts: Number of members, 1 to 10,000.
        adversarial_class: Whether the members have an adversarial class.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        UsageError: If the member has no name, or parts is no such number.
    """
    from tempering.models.registry import MODELS

    chosen = dict(member or {"name": "strided_cnn", "options": {"squeeze": None}})
    if not isinstance(chosen.get("name"), str):
        raise UsageError(f"member with the keys {', '.join(chosen)}: give name and options")
    if type(parts) is not int or not 1 <= parts <= MOST_PARTS:
        raise UsageError(f"parts {parts!r}: give a whole number from 1 to {MOST_PARTS}")
    options = {**chosen.get("options", {}), "adversarial_class": adversarial_class}
    build = MODELS[chosen["name"]].build
    members = [build(shape, classes, **options) for _ in range(parts)]
    return Voting(members, shape, classes, adversarial_class)
