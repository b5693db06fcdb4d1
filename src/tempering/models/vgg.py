"""VGG16 for small images."""

from __future__ import annotations

import math

from torch import nn

from tempering.core.errors import ModelError, UsageError
from tempering.models.classifier import Classifier, draw_blueprint

SIDE = 32
FILTERS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Filters of the convolutions, a tuple for each block that a pooling ends."""
HIDDEN = 512


def vgg16(
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    width: float = 1.0,
    adversarial_class: bool = True,
) -> Classifier:
    """Build thirteen convolutions and three linear layers; it ends in logits.

    Simonyan and Zisserman, 2015, configuration D, with batch normalization and, as is usual for
    small images, linear layers of 512 neurons. The first convolution pads smaller images with zeros
    to 32 x 32.
    Weights come from torch's global generator; `build("vgg16", ...)` takes a seed.

    Args:
        shape: Channels, height and width of the images, at most 32 x 32 pixels.
        classes: Classes of the data, at least 2.
        width: Share of the published filters and neurons, above 0 and at most 1.
        adversarial_class: Whether there is one more output, for 'adversarial'.

    Returns:
        The network, on the CPU, in training mode; 15.2 M parameters for MNIST.

    Raises:
        ModelError: If images are too large or classes too few.
        UsageError: If width is no such share.

    Example:
        >>> vgg16((3, 32, 32), width=0.05, adversarial_class=False).outputs
        10
    """
    if not 0 < width <= 1:
        raise UsageError(f"width {width}: give a share above 0 and at most 1")
    options = {"width": width, "adversarial_class": adversarial_class}
    blueprint = draw_blueprint("vgg16", shape, classes, 1, options)
    channels, height, columns = blueprint.shape
    if max(height, columns) > SIDE:
        raise ModelError(
            f"vgg16 for images of shape {shape}: give images of at most {SIDE} x {SIDE} pixels"
        )
    beside = (1 + math.ceil((SIDE - height) / 2), 1 + math.ceil((SIDE - columns) / 2))
    stages: dict[str, nn.Module] = {}
    for block, filters in enumerate(FILTERS, 1):
        for number, published in enumerate(filters, 1):
            own = max(4, int(width * published))
            name = f"{block}_{number}"
            stages |= {
                f"conv{name}": nn.Conv2d(channels, own, 3, padding=1 if stages else beside),
                f"norm{name}": nn.BatchNorm2d(own),
                f"relu{name}": nn.ReLU(),
            }
            channels = own
        stages[f"pool{block}"] = nn.MaxPool2d(2)
    hidden = max(16, int(width * HIDDEN))
    stages |= {
        "flatten": nn.Flatten(),
        "hidden1": nn.Linear(channels, hidden),
        "relu1": nn.ReLU(),
        "hidden2": nn.Linear(hidden, hidden),
        "relu2": nn.ReLU(),
        "output": nn.Linear(hidden, classes + int(adversarial_class)),
    }
    return Classifier(blueprint, stages, adversarial_class)
