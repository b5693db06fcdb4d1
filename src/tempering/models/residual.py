"""Residual networks with pre-activation: PreActResNet-18 and wide residual networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.models.classifier import Classifier, draw_blueprint


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after normalization and ReLU, added to their input.

    He et al., 'Identity mappings in deep residual networks', 2016, figure 4(e). Where the form
    changes, a 1x1 convolution of the activated input stands for the input.

    Args:
        channels: Channels of the input.
        filters: Channels of the output.
        stride: Of the first convolution.
        dropout: Probability between the convolutions; 0 for none.
    """

    def __init__(self, channels: int, filters: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.relu2 = nn.ReLU()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        changes = stride != 1 or channels != filters
        self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Activations, shape (n, filters, h / stride, w / stride), of shape (n, channels, h, w)."""
        active = self.relu1(self.norm1(x))
        beside = x if self.shortcut is None else self.shortcut(active)
        inner = self.dropout(self.relu2(self.norm2(self.conv1(active))))
        answer: Tensor = self.conv2(inner) + beside
        return answer


def preact_resnet18(
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    width: int = 64,
    adversarial_class: bool = True,
) -> Classifier:
    """Build PreActResNet-18, the usual network of adversarial training on CIFAR-10.

    He et al., 2016, with a 3x3 first convolution for small images and normalization before the
    pooling, as in Rice et al. (2020). Weights come from torch's global generator;
    `build("preact_resnet18", ...)` takes a seed.

    Args:
        shape: Channels, height and width of the images.
        classes: Classes of the data, at least 2.
        width: Filters of the first stage; each later one has twice as many.
        adversarial_class: Whether there is one more output, for 'adversarial'.

    Returns:
        The network, on the CPU, in training mode; 11.2 M parameters.

    Raises:
        ModelError: If classes are too few.
        UsageError: If width is below 1.

    Example:
        >>> preact_resnet18((1, 28, 28), width=4, adversarial_class=False).outputs
        10
    """
    _require("width", width)
    options = {"width": width, "adversarial_class": adversarial_class}
    filters = [width << stage for stage in range(4)]
    return _residual("preact_resnet18", shape, classes, options, width, filters, blocks=2)


def wrn(
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    depth: int = 28,
    widen: int = 10,
    dropout: float = 0.0,
    adversarial_class: bool = True,
) -> Classifier:
    """Build a wide residual network, WRN-28-10 by default.

    Zagoruyko and Komodakis, 'Wide residual networks', 2016. Weights come from torch's global
    generator; `build("wrn", ...)` takes a seed.

    Args:
        shape: Channels, height and width of the images.
        classes: Classes of the data, at least 2.
        depth: Layers with weights, 6 k + 4, such as 16, 28, 34 or 70.
        widen: Factor of the filters, which are 16, 32 and 64.
        dropout: Probability between the convolutions of a block.
        adversarial_class: Whether there is one more output, for 'adversarial'.

    Returns:
        The network, on the CPU, in training mode; 36.5 M parameters for WRN-28-10.

    Raises:
        ModelError: If classes are too few.
        UsageError: If an option makes no sense.

    Example:
        >>> wrn((1, 28, 28), depth=10, widen=1, adversarial_class=False).outputs
        10
    """
    if depth < 10 or (depth - 4) % 6:
        raise UsageError(f"depth {depth}: give 6 k + 4, such as 10, 16, 28 or 34")
    _require("widen", widen)
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout {dropout}: give a probability of at least 0 and below 1")
    options = {
        "depth": depth,
        "widen": widen,
        "dropout": dropout,
        "adversarial_class": adversarial_class,
    }
    filters = [16 * widen << stage for stage in range(3)]
    return _residual("wrn", shape, classes, options, 16, filters, (depth - 4) // 6, dropout)


def _require(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{name} {value}: give at least 1")


def _residual(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    options: dict[str, Any],
    first: int,
    filters: Sequence[int],
    blocks: int,
    dropout: float = 0.0,
) -> Classifier:
    """A 3x3 convolution, stages of blocks that halve the image from the second on, and a mean."""
    blueprint = draw_blueprint(name, shape, classes, 1, options)
    stages: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(blueprint.shape[0], first, 3, padding=1, bias=False)
    }
    channels = first
    for stage, own in enumerate(filters, 1):
        for number in range(1, blocks + 1):
            stride = 2 if stage > 1 and number == 1 else 1
            stages[f"block{stage}_{number}"] = PreActivationBlock(channels, own, stride, dropout)
            channels = own
    flagged = bool(options["adversarial_class"])
    stages |= {
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "output": nn.Linear(channels, classes + int(flagged)),
    }
    network = Classifier(blueprint, stages, flagged)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network
