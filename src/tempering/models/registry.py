"""The networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tempering.core.errors import UnknownNameError, UsageError
from tempering.core.registry import Registry
from tempering.models.classifier import BaseClassifier
from tempering.models.paper import paper_cnn
from tempering.models.residual import preact_resnet18, wrn
from tempering.models.seeded import seeded
from tempering.models.seven_layers import cnn7
from tempering.models.strided import strided_cnn
from tempering.models.vgg import vgg16
from tempering.models.voting import build_voting


@dataclass(frozen=True)
class Architecture:
    """A kind of network.

    Attributes:
        name: Its name in the registry, in recipes and in manifests.
        summary: What it is, in one line.
        build: From image shape, classes, `adversarial_class` and its own options to
            a network whose weights come from torch's global generator.
    """

    name: str
    summary: str
    build: Callable[..., BaseClassifier]

    @property
    def options(self) -> dict[str, Any]:
        """Its options and their defaults."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(self.build).parameters.items()
            if name not in ("shape", "classes")
        }


MODELS: Registry[Architecture] = Registry("model")
"""Name -> architecture."""

for _entry in (
    Architecture(
        "paper_cnn", "the paper's CNN: two 3x3 convolutions and 1024 hidden neurons", paper_cnn
    ),
    Architecture(
        "strided_cnn", "a small CNN: an input squeeze and two strided convolutions", strided_cnn
    ),
    Architecture("voting", "networks that vote, such as those of disjoint parts", build_voting),
    Architecture("vgg16", "VGG16 for images of up to 32 x 32, with batch normalization", vgg16),
    Architecture("cnn7", "CNN7 of certified training, with batch normalization", cnn7),
    Architecture("preact_resnet18", "PreActResNet-18 for small images", preact_resnet18),
    Architecture("wrn", "a wide residual network, WRN-28-10 by default", wrn),
):
    MODELS.register(_entry.name)(_entry)


def build(
    name: str, shape: tuple[int, int, int], classes: int, *, seed: int = 0, **options: Any
) -> BaseClassifier:
    """Build a network by name, with weights that depend on the seed alone.

    Args:
        name: A name in `MODELS`.
        shape: Channels, height and width of the images.
        classes: Classes of the data, without the adversarial class.
        seed: Of the first weights; torch's global generators are left as they were.
        **options: What the network's own function takes, such as `adversarial_class`.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        UnknownNameError: If there is no such network or option; offers the nearest.
        UsageError: If an option's value makes no sense.
        ModelError: If the network cannot take such images.

    Example:
        >>> build("strided_cnn", (1, 28, 28), 10, seed=1, width=8).outputs
        11
    """
    architecture = MODELS[name]
    for option in options:
        if option not in architecture.options:
            raise UnknownNameError(f"option of {name}", option, architecture.options)
    with seeded(seed):
        try:
            return architecture.build(shape, classes, **options)
        except TypeError as error:
            raise UsageError(f"options {options} do not fit {name}: {error}") from error
