"""Interval bounds that can be differentiated with respect to the weights.

The bounds of `tempering.certification` are sound under rounding and hold the weights fixed.
Training needs gradients instead, in the network's own precision; what it trains is certified
by the other room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform
from tempering.defenses.pipeline import Pipeline
from tempering.models.classifier import Classifier
from tempering.models.normalize import Normalize

_Norm = nn.modules.batchnorm._BatchNorm
Box = tuple[Tensor, Tensor]
"""Lower and upper ends, of one shape (n, ...)."""


def _linear(layer: nn.Module, box: Box) -> Box:
    linear = cast(nn.Linear, layer)
    center, radius = (box[1] + box[0]) / 2, (box[1] - box[0]) / 2
    middle = F.linear(center, linear.weight, linear.bias)
    spread = F.linear(radius, linear.weight.abs())
    return middle - spread, middle + spread


def _conv2d(layer: nn.Module, box: Box) -> Box:
    conv = cast(nn.Conv2d, layer)
    center, radius = (box[1] + box[0]) / 2, (box[1] - box[0]) / 2
    settings: Any = (conv.stride, conv.padding, conv.dilation, conv.groups)
    middle = F.conv2d(center, conv.weight, conv.bias, *settings)
    spread = F.conv2d(radius, conv.weight.abs(), None, *settings)
    return middle - spread, middle + spread


def _monotone(layer: nn.Module, box: Box) -> Box:
    return layer(box[0]), layer(box[1])


def _identity(layer: nn.Module, box: Box) -> Box:  # noqa: ARG001
    return box


_MONOTONE: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
    nn.Hardtanh,
    nn.Flatten,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    Normalize,
)
_RULES: dict[type[nn.Module], Callable[[nn.Module, Box], Box]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.Dropout: _identity,
    nn.Dropout2d: _identity,
    nn.Identity: _identity,
    nn.BatchNorm1d: _identity,  # stands for a FixedNorm
    nn.BatchNorm2d: _identity,
    **dict.fromkeys(_MONOTONE, _monotone),
}
"""The bounds of each type of layer; dropout is taken as in evaluation mode."""


def _rule(layer: nn.Module) -> Callable[[nn.Module, Box], Box] | None:
    """The bounds of a layer: by its type, or of a transform that declares that it is monotone."""
    if isinstance(layer, Transform) and layer.monotone:
        return _monotone
    return _RULES.get(type(layer))


def layers_of(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of a sequential network in order, with their qualified names.

    A pipeline without a detector is a sequence of its transforms and its classifier.

    Raises:
        ModelError: Naming the first layer that has no interval bounds here.
    """
    if type(model).forward in (nn.Sequential.forward, Classifier.forward):
        for name, child in model.named_children():
            yield from layers_of(child, f"{prefix}.{name}" if prefix else name)
        return
    if type(model).forward is Pipeline.forward and model.detector is None:
        stages = [*model.transforms.named_children(), ("classifier", model.classifier)]
        for name, child in stages:
            inner = name if name == "classifier" else f"transforms.{name}"
            yield from layers_of(child, f"{prefix}.{inner}" if prefix else inner)
        return
    zeros = not isinstance(model, nn.Conv2d) or model.padding_mode == "zeros"
    if _rule(model) is None or not zeros:
        known = ", ".join(sorted(kind.__name__ for kind in _RULES))
        raise ModelError(
            f"no differentiable interval bounds for {prefix or 'the model'} "
            f"({type(model).__name__}): give a sequence of {known}, or of monotone transforms"
        )
    yield prefix, model


class FixedNorm(nn.Module):
    """Batch normalisation with given statistics: a scale and a shift of each channel.

    Attributes:
        layer: The layer.
        mean: Shape (channels,).
        variance: Shape (channels,).
    """

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor):
        super().__init__()
        scale = (variance + layer.eps).rsqrt()
        if layer.weight is not None:
            scale = scale * layer.weight
        self.scale = scale
        self.shift = -mean * scale if layer.bias is None else layer.bias - mean * scale

    def forward(self, z: Tensor) -> Tensor:
        """Normalised values, shape of z, (n, channels, ...)."""
        form = [1, -1] + [1] * (z.ndim - 2)
        return z * self.scale.reshape(form) + self.shift.reshape(form)


def _fixed_norm(layer: nn.Module, box: Box) -> Box:
    ends = layer(box[0]), layer(box[1])
    return torch.minimum(*ends), torch.maximum(*ends)


_RULES[FixedNorm] = _fixed_norm


def bounded_layers(model: nn.Module, x: Tensor) -> list[nn.Module]:
    """The layers in order, batch normalisation with the statistics that it has at x.

    In training mode these are the statistics of the images, not those of the bounds (Shi et al.,
    2021, section 4.2); in evaluation mode they are the running ones.

    Raises:
        ModelError: Naming the first layer that has no interval bounds here.
    """
    layers = [layer for _, layer in layers_of(model)]
    norms = [isinstance(layer, _Norm) for layer in layers]
    last = max((at for at, norm in enumerate(norms) if norm), default=-1)
    fixed: list[nn.Module] = []
    for at, layer in enumerate(layers):
        made = layer
        if isinstance(layer, _Norm):
            own = layer.training or layer.running_mean is None or layer.running_var is None
            dims = [0, *range(2, x.ndim)]
            mean = x.mean(dims) if own else cast(Tensor, layer.running_mean)
            variance = x.var(dims, correction=0) if own else cast(Tensor, layer.running_var)
            made = FixedNorm(layer, mean, variance)
        fixed.append(made)
        if at < last:
            x = x if isinstance(layer, nn.Dropout | nn.Dropout2d) else made(x)
    return fixed


def propagated(layer: nn.Module, box: Box) -> Box:
    """The bounds of what a layer makes of a box."""
    rule = _rule(layer)
    return rule(layer, box) if rule else box


def image_box(x: Tensor, eps: float) -> Box:
    """The L-inf ball around images, cut to [0, 1]."""
    return (x - eps).clamp_min(0.0), (x + eps).clamp_max(1.0)


@dataclass
class SeenBoxes:
    """Boxes on the way of `worst_logits` through a network.

    Attributes:
        given: What goes into the first layer with weights; None before.
        before_activations: What goes into each ReLU.
    """

    given: Box | None = None
    before_activations: list[Box] = field(default_factory=list)

    def see(self, layer: nn.Module, box: Box) -> None:
        """Keep the box that goes into a layer."""
        if self.given is None and isinstance(layer, nn.Linear | nn.Conv2d):
            self.given = box
        if isinstance(layer, nn.ReLU | nn.LeakyReLU):
            self.before_activations.append(box)


_SEEN: ContextVar[SeenBoxes | None] = ContextVar("boxes of worst_logits", default=None)


@contextmanager
def boxes_seen() -> Iterator[SeenBoxes]:
    """Within it, `worst_logits` keeps the boxes on its way, with their gradients."""
    seen = SeenBoxes()
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


def worst_logits(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Upper bounds of each logit less the true one over an L-inf ball cut to [0, 1].

    A last linear layer is merged into the differences (Gowal et al., 2018, section 3).

    Args:
        model: A sequential network.
        x: Images in [0, 1], shape (n, c, h, w).
        y: True classes, shape (n,), int64.
        eps: Radius of the ball.

    Returns:
        Shape (n, outputs), 0 at the true class; a sample is certified where no other entry
        is above 0, but for rounding.

    Raises:
        ModelError: Naming a layer without bounds.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> worst_logits(net, torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 0]), 0.1).shape
        torch.Size([3, 2])
    """
    layers = bounded_layers(model, x)
    box = image_box(x, eps)
    last = layers[-1] if layers else None
    merged = isinstance(last, nn.Linear)
    seen = _SEEN.get()
    for layer in layers[:-1] if merged else layers:
        if seen is not None:
            seen.see(layer, box)
        box = propagated(layer, box)
    if not merged:
        gap = box[1] - box[0].gather(1, y[:, None])
        return gap.scatter(1, y[:, None], 0.0)
    weight, bias = cast(nn.Linear, last).weight, cast(nn.Linear, last).bias
    low, high = box[0].to(weight.dtype), box[1].to(weight.dtype)
    center, radius = (high + low) / 2, (high - low) / 2
    difference = weight[None] - weight[y][:, None]
    with torch.autocast(x.device.type, enabled=False):  # small differences of large numbers
        bound = difference @ center[:, :, None] + difference.abs() @ radius[:, :, None]
    gap = bound[:, :, 0]
    return gap if bias is None else gap + bias[None] - bias[y][:, None]


def certified(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Which samples interval bounds certify, in float arithmetic without a margin for rounding.

    Args:
        model: A sequential network.
        x: Images in [0, 1], shape (n, c, h, w).
        y: True classes, shape (n,), int64.
        eps: Radius of the ball.

    Returns:
        Shape (n,), bool.
    """
    with torch.no_grad():
        worst = worst_logits(model, x, y, eps).scatter(1, y[:, None], -torch.inf)
    return worst.amax(1) < 0
