"""The paper's CNN: two convolutions and a wide hidden layer."""

from __future__ import annotations

from torch import nn

from tempering.core.errors import UsageError
from tempering.models.classifier import Classifier, draw_blueprint

POOLS = ("each", "once")


def paper_cnn(
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    pool: str = "each",
    dropout: float = 0.25,
    adversarial_class: bool = True,
) -> Classifier:
    """Build the CNN of Afzal and Huzaifa, section III; it returns logits.

    Weights are drawn from torch's global generator; `build("paper_cnn", ...)` takes a seed.

    Args:
        shape: Channels, height and width of the images, at least 4 x 4 pixels.
        classes: Classes of the data, at least 2.
        pool: Max-pooling 2x2 after `each` convolution (3.2 M parameters for MNIST),
            or `once`, after both (12.9 M). The paper's text allows either.
        dropout: Probability after the last pooling, in [0, 1).
        adversarial_class: Whether the network has an additional output for adversarial inputs.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        ModelError: If images are too small or classes too few.
        UsageError: If pool or dropout is invalid.

    Example:
        >>> paper_cnn().outputs
        11
    """
    if pool not in POOLS:
        raise UsageError(f"pool {pool!r}: give one of {', '.join(POOLS)}")
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout {dropout}: give a probability in [0, 1)")
    options = {"pool": pool, "dropout": dropout, "adversarial_class": adversarial_class}
    blueprint = draw_blueprint("paper_cnn", shape, classes, 4 if pool == "each" else 2, options)
    channels, height, width = blueprint.shape
    shrink = 4 if pool == "each" else 2
    stages: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, 32, 3, padding=1),
        "relu1": nn.ReLU(),
    }
    if pool == "each":
        stages["pool1"] = nn.MaxPool2d(2)
    stages |= {
        "conv2": nn.Conv2d(32, 64, 3, padding=1),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "dropout": nn.Dropout(dropout),
        "flatten": nn.Flatten(),
        "hidden": nn.Linear(64 * (height // shrink) * (width // shrink), 1024),
        "relu3": nn.ReLU(),
        "output": nn.Linear(1024, classes + int(adversarial_class)),
    }
    return Classifier(blueprint, stages, adversarial_class)
