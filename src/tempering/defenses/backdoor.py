"""A bijective backdoor as a defense: a trigger on every input, and a map of the classes undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.defenses.description import build_classifier
from tempering.models.blueprint import Blueprint
from tempering.models.classifier import BaseClassifier
from tempering.models.registry import MODELS, Architecture


class Backdoored(BaseClassifier):
    """Stamp a secret trigger, classify, and undo the map of classes that the trigger stands for.

    Zhu, Zhang and Chen, 'AI-Guardian: defeating adversarial attacks using backdoors', 2023. The
    network answers g(y) where it sees the trigger. The gradient is the true one: it leads through
    the trigger and the map (Carlini, 2023), except at the pixels that the trigger covers, where
    it is 0, since no change there reaches the network.

    Args:
        network: From images in [0, 1] to logits, one for each class, and one more if it has an
            adversarial class.
        shape: Channels, height and width of the images.
        mapping: g, a permutation of the classes: `mapping[y]` is the answer with the trigger.
        trigger: Values that replace pixels, shape (c, h, w).
        mask: Which pixels the trigger covers, shape (h, w), bool.

    Raises:
        ModelError: If the mapping is no permutation of the classes, or shapes do not fit.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        >>> corner = torch.zeros(8, 8, dtype=torch.bool)
        >>> corner[:2, :2] = True
        >>> Backdoored(net, (1, 8, 8), [1, 0], torch.ones(1, 8, 8), corner).classes
        2
    """

    trigger: Tensor
    mask: Tensor
    unmapping: Tensor

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, int, int],
        mapping: Sequence[int],
        trigger: Tensor,
        mask: Tensor,
    ) -> None:
        super().__init__()
        if sorted(mapping) != list(range(len(mapping))):
            raise ModelError(
                f"mapping {list(mapping)}: give each of the classes 0 to {len(mapping) - 1} once"
            )
        if tuple(trigger.shape) != tuple(shape) or tuple(mask.shape) != tuple(shape[1:]):
            raise ModelError(
                f"trigger {tuple(trigger.shape)} and mask {tuple(mask.shape)} for images of "
                f"{tuple(shape)}: give {tuple(shape)} and {tuple(shape[1:])}"
            )
        self.network = network
        self.mapping = list(mapping)
        self.register_buffer("trigger", trigger.detach().clone().float())
        self.register_buffer("mask", mask.detach().clone().float())
        self.classes = len(self.mapping)
        flags = getattr(network, "adversarial_class", None) is not None
        self.adversarial_class = self.classes if flags else None
        self.outputs = self.classes + flags
        order = [*self.mapping, *range(self.classes, self.outputs)]
        self.register_buffer("unmapping", torch.eye(self.outputs)[order])
        self.architecture = self._described(tuple(shape))

    def stamped(self, x: Tensor) -> Tensor:
        """Images with the trigger, shape of x."""
        return x * (1 - self.mask) + self.trigger * self.mask

    def mapped(self, y: Tensor) -> Tensor:
        """G of classes, shape of y, int64."""
        return torch.tensor(self.mapping, device=y.device)[y]

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the true classes, and of the adversarial class if there is one.

        Raises:
            ModelError: If images have another shape than the trigger.
        """
        if x.shape[1:] != self.trigger.shape:
            raise ModelError(
                f"images of shape {tuple(x.shape[1:])} for a trigger of shape "
                f"{tuple(self.trigger.shape)}: give images of the trigger's shape"
            )
        logits: Tensor = self.network(self.stamped(x))
        return nn.functional.linear(logits, self.unmapping)

    def _described(self, shape: tuple[int, ...]) -> dict[str, Any] | str:
        own = getattr(self.network, "architecture", None)
        if not isinstance(own, dict):
            return type(self).__name__
        options = {
            "classifier": {"name": own["name"], "options": own["options"]},
            "mapping": self.mapping,
        }
        return Blueprint(
            name="backdoored", shape=shape, classes=self.classes, options=options
        ).as_json()


def corner_trigger(shape: tuple[int, int, int], side: int = 4) -> tuple[Tensor, Tensor]:
    """A white square in the lower right corner: values (c, h, w), and mask (h, w).

    Raises:
        ModelError: If the image is smaller than the square.
    """
    _, height, width = shape
    if not 1 <= side <= min(height, width):
        raise ModelError(
            f"trigger of {side} pixels a side for images of {height} x {width}: "
            f"give 1 to {min(height, width)}"
        )
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[-side:, -side:] = True
    return torch.ones(shape), mask


def build_backdoored(
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    classifier: Mapping[str, Any] | None = None,
    mapping: Sequence[int] | None = None,
    adversarial_class: bool = False,
) -> Backdoored:
    """A backdoored network with fresh weights and the trigger of `corner_trigger`.

    Args:
        shape: Channels, height and width of the images.
        classes: Classes of the data.
        classifier: `{"name": ..., "options": {...}}`; by default a small CNN.
        mapping: g; by default every class is mapped to the next.
        adversarial_class: Whether the network has an adversarial class, which stays as it is.
    """
    network = build_classifier(classifier, shape, classes, adversarial_class)
    trigger, mask = corner_trigger(shape)
    chosen_map = [(y + 1) % classes for y in range(classes)] if mapping is None else mapping
    return Backdoored(network, shape, chosen_map, trigger, mask)


MODELS.register("backdoored")(
    Architecture(
        "backdoored", "a network behind a secret trigger, its classes permuted", build_backdoored
    )
)
