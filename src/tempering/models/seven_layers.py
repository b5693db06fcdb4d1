"""The seven-layer convolutional network of certified training."""

from __future__ import annotations

from torch import nn

from tempering.core.errors import UsageError
from tempering.models.classifier import Classifier, draw_blueprint

CONVOLUTIONS = ((64, 1), (64, 1), (128, 2), (128, 1), (128, 1))
"""Filters and stride of each 3x3 convolution."""
HIDDEN = 512
WIDEST = 16.0


def cnn7(
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    width: float = 1.0,
    adversarial_class: bool = True,
) -> Classifier:
    """Build CNN7: five 3x3 convolutions and two linear layers; it ends in logits.

    Batch normalization follows every layer but the last, as in Shi et al. (2021) and CTBench (Mao
    et al., 2025). Weights come from torch's global generator; `build("cnn7", ...)` takes a seed,
    and the objective `fast-ibp` sets weights that keep interval bounds small.

    Args:
        shape: Channels, height and width of the images, at least 2 x 2 pixels.
        classes: Classes of the data, at least 2.
        width: Multiple of the published filters and neurons, above 0 and at most 16.
        adversarial_class: Whether there is one more output, for 'adversarial'.

    Returns:
        The network, on the CPU, in training mode; 13.3 M parameters for MNIST, 17.2 M for images
        of 3 x 32 x 32.

    Raises:
        ModelError: If images are too small or classes too few.
        UsageError: If width is no such multiple.

    Example:
        >>> cnn7((3, 32, 32), width=0.1, adversarial_class=False).outputs
        10
    """
    if not 0 < width <= WIDEST:
        raise UsageError(f"width {width}: give a multiple above 0 and at most {WIDEST:g}")
    options = {"width": width, "adversarial_class": adversarial_class}
    blueprint = draw_blueprint("cnn7", shape, classes, 2, options)
    channels, height, columns = blueprint.shape
    stages: dict[str, nn.Module] = {}
    for number, (published, stride) in enumerate(CONVOLUTIONS, 1):
        own = max(4, int(width * published))
        stages |= {
            f"conv{number}": nn.Conv2d(channels, own, 3, stride=stride, padding=1),
            f"norm{number}": nn.BatchNorm2d(own),
            f"relu{number}": nn.ReLU(),
        }
        channels = own
    hidden = max(16, int(width * HIDDEN))
    places = -(-height // 2) * -(-columns // 2)
    stages |= {
        "flatten": nn.Flatten(),
        "hidden": nn.Linear(channels * places, hidden),
        "norm6": nn.BatchNorm1d(hidden),
        "relu6": nn.ReLU(),
        "output": nn.Linear(hidden, classes + int(adversarial_class)),
    }
    return Classifier(blueprint, stages, adversarial_class)
