"""Small networks that begin with strided convolutions: fast to train adversarially on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from tempering.core.errors import UsageError
from tempering.core.protocols import DEFENSES
from tempering.models.classifier import Classifier, draw_blueprint


def strided_cnn(
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    width: int = 16,
    hidden: int = 100,
    depth: int = 2,
    squeeze: Sequence[float] | None = (0.3, 0.7),
    threshold: float | Sequence[float] | None = None,
    adversarial_class: bool = True,
) -> Classifier:
    """Build two 4x4 convolutions of stride 2 and a hidden layer; it ends in logits.

    The shape of Wong and Kolter (2018), section 5, with a squeeze in front. Weights
    come from torch's global generator; `build("strided_cnn", ...)` takes a seed.

    Args:
        shape: Channels, height and width of the images, at least 4 x 4 pixels.
        classes: Classes of the data, at least 2.
        width: Filters of the first convolution; the second has twice as many.
        hidden: Neurons of the hidden layer.
        depth: Convolutions, at least 2; those after the second are 3x3 and of stride 1.
        squeeze: Pixel values (low, high) that become 0 and 1; None or empty for no
            squeeze, as for natural images.
        threshold: Pixel value above which pixels become 1, and else 0, in place of a squeeze;
            one for all channels or one for each; None or empty for none.
        adversarial_class: Whether there is one more output, for 'adversarial'.

    Returns:
        The network, on the CPU, in training mode; 166 k parameters for MNIST.

    Raises:
        ModelError: If images are too small, classes too few, or the squeeze is empty.
        UsageError: If width or hidden is below 1, depth below 2, squeeze is not two numbers, or
            threshold is text, such as `learn=2`, or stands beside a squeeze.

    Example:
        >>> strided_cnn(shape=(3, 32, 32), squeeze=None).outputs
        11
    """
    for name, value in (("width", width), ("hidden", hidden)):
        if value < 1:
            raise UsageError(f"{name} {value}: give at least 1")
    if depth < 2:
        raise UsageError(f"depth {depth}: give at least 2 convolutions")
    ends = tuple(squeeze or ())
    if len(ends) not in (0, 2):
        raise UsageError(f"squeeze {squeeze!r}: give two numbers (low, high), or None")
    if isinstance(threshold, str | dict):
        raise UsageError(
            f"threshold {threshold!r} in a network: give a number, or one for each channel; "
            "values to be learned stand before it, --defense threshold:learn=2"
        )
    hard = list(threshold) if isinstance(threshold, Sequence) else threshold
    if hard == []:
        hard = None
    if ends and hard is not None:
        raise UsageError(f"threshold {hard} beside squeeze {ends}: give one of them")
    options = {
        "width": width,
        "hidden": hidden,
        "depth": depth,
        "squeeze": ends or None,
        "threshold": hard,
        "adversarial_class": adversarial_class,
    }
    blueprint = draw_blueprint("strided_cnn", shape, classes, 4, options)
    channels, height, columns = blueprint.shape
    stages: dict[str, nn.Module] = {"squeeze": DEFENSES["squeeze"](*ends)} if ends else {}
    if hard is not None:
        step: Callable[..., nn.Module] = DEFENSES["threshold"]
        stages["threshold"] = step(hard)
    stages |= {
        "conv1": nn.Conv2d(channels, width, 4, stride=2, padding=1),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        "relu2": nn.ReLU(),
    }
    for number in range(3, depth + 1):
        stages |= {
            f"conv{number}": nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            f"relu{number}": nn.ReLU(),
        }
    stages |= {
        "flatten": nn.Flatten(),
        "hidden": nn.Linear(2 * width * (height // 4) * (columns // 4), hidden),
        f"relu{depth + 1}": nn.ReLU(),
        "output": nn.Linear(hidden, classes + int(adversarial_class)),
    }
    return Classifier(blueprint, stages, adversarial_class)
