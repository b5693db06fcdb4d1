"""Training on dual bounds (Wong and Kolter, 2018), for the networks of `certifiable`.

Networks that were trained so keep their certificates under CROWN and have none under intervals:
a test of how `temper evaluate` chooses its method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.core.engine import bare_module
from tempering.training import Batch, Losses, Objective


@dataclass(frozen=True)
class DualBounds(Objective):
    """CE(worst logits that dual bounds allow, y), at an eps that grows to the threat's.

    Wong and Kolter, 'Provable defenses against adversarial examples via the convex outer
    adversarial polytope', 2018, sections 3 and 4.

    Attributes:
        growing: The share of steps after which eps has its full size.
    """

    name: ClassVar[str] = "dual-bounds"
    source: ClassVar[str] = "Wong and Kolter, 2018"

    growing: float = 0.6

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each sample at this step."""
        share = min(1.0, (batch.step / batch.steps) / self.growing)
        eps = batch.threat.eps * (0.1 + 0.9 * share)
        net = bare_module(model)
        worst = worst_logits(net, batch.x, batch.y, eps)
        loss = F.cross_entropy(worst, batch.y, reduction="none")
        certified = (worst.argmax(1) == batch.y).float().mean()
        return Losses(loss, net(batch.x).detach(), {"certified": certified})


@dataclass(frozen=True, eq=False)
class _Relaxed:
    """Neurons of a hidden layer, each between two lines of equal slope.

    Attributes:
        slope: Of both lines, shape (n, ...).
        lift: Height of the upper line above the lower one, shape (n, ...).
    """

    slope: Tensor
    lift: Tensor

    @classmethod
    def between(cls, low: Tensor, high: Tensor) -> _Relaxed:
        """The triangle of ReLU over `low` to `high`."""
        low, high = low.clamp(max=0.0), high.clamp(min=0.0)
        slope = high / (high - low).clamp(min=1e-8)
        return cls(slope, -slope * low)


def worst_logits(net: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Upper bounds of each logit minus that of the true class, over the ball cut by [0, 1].

    Args:
        net: Two convolutions of kernel 4, stride 2 and padding 1, and two linear layers.
        x: Images, shape (n, 1, 28, 28).
        y: Labels, shape (n,), int64.
        eps: Of the L-inf ball.

    Returns:
        Bounds, shape (n, classes), 0 for the true class.
    """
    first, second, third, last = (layer for layer in net if hasattr(layer, "weight"))
    low, high = (x - eps).clamp(min=0.0), (x + eps).clamp(max=1.0)
    center, radius = (low + high) / 2, (high - low) / 2
    z, spread = first(center), F.conv2d(radius, first.weight.abs(), None, 2, 1)
    hidden = [_Relaxed.between(z - spread, z + spread)]
    hidden.append(_Relaxed.between(*_second_bounds(first, second, hidden[0], center, radius)))
    layers = (first, second, third)

    def low_high(rows: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return _bounds(layers[: len(hidden)], hidden, rows, bias, center, radius)

    rows = third.weight.expand(len(x), -1, -1)
    hidden.append(_Relaxed.between(*low_high(rows, third.bias)))
    margins = last.weight[y][:, None] - last.weight
    return -low_high(margins, last.bias[y][:, None] - last.bias)[0]


def _second_bounds(
    first: nn.Conv2d, second: nn.Conv2d, hidden: _Relaxed, center: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Bounds of the second convolution, each over the 10 x 10 pixels that it sees."""
    weight = second.weight.flatten(1)
    slope, lift = (F.unfold(part, 4, stride=2, padding=1) for part in (hidden.slope, hidden.lift))
    rows = slope.transpose(1, 2)[:, :, None] * weight
    patch = torch.eye(weight.shape[1]).view(-1, *second.weight.shape[1:])
    to_pixels = F.conv_transpose2d(patch, first.weight, stride=2).flatten(1)
    bias = second.bias + rows @ first.bias.repeat_interleave(16)
    seen, around = (F.unfold(part, 10, stride=4, padding=3) for part in (center, radius))
    pixels = rows @ to_pixels
    middle = bias + (pixels @ seen.transpose(1, 2)[..., None])[..., 0]
    spread = (pixels.abs() @ around.transpose(1, 2)[..., None])[..., 0]
    below = lift.transpose(1, 2) @ weight.clamp(max=0.0).T
    above = lift.transpose(1, 2) @ weight.clamp(min=0.0).T
    size = (len(center), second.out_channels, *hidden.slope.shape[2:])
    size = (*size[:2], size[2] // 2, size[3] // 2)
    low, high = middle - spread + below, middle + spread + above
    return low.transpose(1, 2).reshape(size), high.transpose(1, 2).reshape(size)


def _bounds(
    layers: tuple[nn.Conv2d | nn.Linear, ...],
    hidden: list[_Relaxed],
    rows: Tensor,
    bias: Tensor,
    center: Tensor,
    radius: Tensor,
) -> tuple[Tensor, Tensor]:
    """Bounds of linear functions of the last of some hidden layers, backward through all.

    Args:
        layers: Those in front of the hidden ones, in order.
        hidden: The relaxed neurons, in order.
        rows: Coefficients of the last layer, shape (n, rows, neurons).
        bias: Constants, shape (rows,) or (n, rows).
        center: Of the box, shape (n, 1, 28, 28).
        radius: Of the box, likewise.
    """
    low = high = bias
    for layer, neurons in zip(reversed(layers), reversed(hidden), strict=True):
        lift = neurons.lift.flatten(1)[:, :, None]
        low = low + (rows.clamp(max=0.0) @ lift)[..., 0]
        high = high + (rows.clamp(min=0.0) @ lift)[..., 0]
        rows = rows * neurons.slope.flatten(1)[:, None]
        if isinstance(layer, nn.Linear):
            shift = rows @ layer.bias
            rows = rows @ layer.weight
        else:
            grids = rows.reshape(-1, *neurons.slope.shape[1:])
            shift = grids.sum((2, 3)) @ layer.bias
            shift = shift.view(rows.shape[:2])
            back = F.conv_transpose2d(grids, layer.weight, None, 2, 1)
            rows = back.flatten(1).view(*rows.shape[:2], -1)
        low, high = low + shift, high + shift
    middle = (rows @ center.flatten(1)[..., None])[..., 0]
    spread = (rows.abs() @ radius.flatten(1)[..., None])[..., 0]
    return low + middle - spread, high + middle + spread
