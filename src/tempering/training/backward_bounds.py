"""Backward linear bounds (CROWN) of the logits, differentiable in the weights.

The relaxations of activations are those of `tempering.certification`; the bounds before each
activation are intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.operations import IntervalTensor
from tempering.certification.precision import Precision
from tempering.core.errors import ModelError
from tempering.core.protocols import Transform
from tempering.models.normalize import Normalize
from tempering.training.interval_bounds import (
    Box,
    FixedNorm,
    bounded_layers,
    image_box,
    layers_of,
    propagated,
)

_PASSED = (nn.Dropout, nn.Dropout2d, nn.Identity)
_AFFINE = (
    nn.Linear,
    nn.Conv2d,
    nn.Flatten,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    Normalize,
    FixedNorm,
)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_RECTIFIERS = (nn.ReLU, nn.LeakyReLU)


def require_backward_bounds(name: str, model: nn.Module) -> None:
    """Refuse a network with a layer that has no backward bounds here.

    Raises:
        ModelError: Naming the objective and the layer.
    """
    layers = list(layers_of(model))
    known = (*_PASSED, *_AFFINE, *_NORMS, *_RECTIFIERS)
    for place, layer in layers[_first([layer for _, layer in layers]) :]:
        if not isinstance(layer, known):
            kinds = ", ".join(sorted(kind.__name__ for kind in known))
            raise ModelError(
                f"{name} has no backward bounds for {place or 'the model'} "
                f"({type(layer).__name__}): give a sequence of {kinds}, or train with sabr"
            )


def crown_worst_logits(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Upper bounds of each logit less the true one over an L-inf ball cut to [0, 1].

    Zhang et al., 'Towards stable and efficient training of verifiably robust neural networks',
    2020, section 3.2: intervals forwards, one linear bound of each difference backwards.

    Args:
        model: A sequential network that `require_backward_bounds` accepts.
        x: Images in [0, 1], shape (n, c, h, w).
        y: True classes, shape (n,), int64.
        eps: Radius of the ball.

    Returns:
        Shape (n, outputs), 0 at the true class.
    """
    layers = bounded_layers(model, x)
    box, before = image_box(x, eps), []
    for layer in layers:
        before.append(box)
        box = propagated(layer, box)
    outputs = box[0].shape[1]
    rows = torch.arange(len(x), device=x.device).repeat_interleave(outputs)
    eye = torch.eye(outputs, dtype=x.dtype, device=x.device)
    a = (eye[y][:, None] - eye[None]).flatten(0, 1)  # the true logit less each other one
    total = a.new_zeros(len(a))
    first = _first(layers)
    for layer, given in zip(layers[:first:-1], before[:first:-1], strict=True):
        a, constant = _pulled(layer, given, a, rows)
        total = total + constant
    if first < len(layers):
        a, constant = _pulled(layers[first], before[first], a, rows)
        total = total + constant
    low, high = before[first] if first < len(layers) else box
    least = torch.where(a > 0, a * low[rows], a * high[rows]).flatten(1).sum(1)
    return -(total + least).reshape(-1, outputs)


def _first(layers: Sequence[nn.Module]) -> int:
    """Where the network begins behind monotone transforms: their box is the image's."""
    return next(
        (number for number, layer in enumerate(layers) if not isinstance(layer, Transform)),
        len(layers),
    )


def _pulled(layer: nn.Module, given: Box, a: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients of what a layer is given, and the constant of the bound, for each row."""
    if isinstance(layer, _PASSED):
        return a, a.new_zeros(len(a))
    if isinstance(layer, _RECTIFIERS):
        floor = float(layer.negative_slope) if isinstance(layer, nn.LeakyReLU) else 0.0
        precision = Precision.of(torch.float32, a.device)
        relaxed = LeakyRectifier(floor, precision).relax(IntervalTensor(*given))
        return relaxed.pull(a, rows, None)
    with torch.enable_grad():
        origin = torch.zeros_like(given[0][:1]).requires_grad_(True)
        spread = origin.expand(len(rows), *origin.shape[1:])
        answer = layer(spread)
        (pulled,) = torch.autograd.grad(answer, spread, a, create_graph=True)
    constant = (a * layer(torch.zeros_like(given[0][:1]))).flatten(1).sum(1)
    return pulled, constant
