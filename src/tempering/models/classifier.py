"""What every network of ours is, and how its adversarial class is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.models.blueprint import Blueprint


class BaseClassifier(nn.Module):
    """From images in [0, 1] to logits: the base of all networks that can be built by name.

    Attributes:
        classes: Classes of the data.
        adversarial_class: Number of the output that means 'adversarial', or None.
        outputs: Logits an image: the classes, and one more with an adversarial class.
        architecture: Name, shape, classes and options, from which it can be built again; the
            name of its class if a part of it is a user's own.
    """

    classes: int
    adversarial_class: int | None
    outputs: int
    architecture: dict[str, Any] | str


class Classifier(BaseClassifier):
    """Stages in a row."""

    def __init__(
        self, blueprint: Blueprint, stages: Mapping[str, nn.Module], adversarial_class: bool
    ) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.classes = blueprint.classes
        self.adversarial_class = blueprint.classes if adversarial_class else None
        self.outputs = blueprint.classes + int(adversarial_class)
        self.architecture = blueprint.as_json()

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w)."""
        for stage in self.children():
            x = stage(x)
        return x


def draw_blueprint(
    name: str, shape: tuple[int, int, int], classes: int, smallest: int, options: dict[str, Any]
) -> Blueprint:
    """Describe a network, and refuse one that cannot be built.

    Raises:
        ModelError: If there are fewer than two classes, or images are no (c, h, w)
            of at least `smallest` pixels a side.
    """
    try:
        blueprint = Blueprint(name=name, shape=shape, classes=classes, options=options)
    except ValidationError:
        raise ModelError(
            f"{name} for images of shape {shape} and {classes} classes: "
            "give a shape (channels, height, width) and at least 2 classes"
        ) from None
    if min(blueprint.shape[1:]) < smallest:
        raise ModelError(
            f"{name} for images of shape {shape}: "
            f"give images of at least {smallest} x {smallest} pixels"
        )
    return blueprint


def flag_of(model: nn.Module, classes: int, outputs: int) -> int | None:
    """The output with which a model flags adversarial inputs, of ours or of a user's.

    It is the last one. The model may know more classes than the data have.

    Args:
        model: Any network; it declares the flag as an attribute `adversarial_class`.
        classes: Classes of the data.
        outputs: Logits an image.

    Returns:
        The number of the flag output, or None if the model has none.

    Raises:
        ModelError: If the attribute is neither None nor the output after the classes.

    Example:
        >>> flag_of(nn.Linear(4, 11), classes=10, outputs=11) is None
        True
    """
    flag = getattr(model, "adversarial_class", None)
    last = outputs - 1
    if isinstance(flag, int) and not isinstance(flag, bool) and flag == last >= classes:
        return flag
    if flag is None or outputs != classes + 1:
        return None
    if flag != classes:
        raise ModelError(
            f"the model's adversarial_class is {flag!r}: "
            f"with {classes} classes give {classes}, the output after them, or None"
        )
    return classes
