"""An input stage that saturates all but clear greys."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.core.backward import wants_true_gradient
from tempering.core.errors import ModelError


def _squeezed(x: Tensor, low: float, high: float) -> Tensor:
    return ((x - low) / (high - low)).clamp(0.0, 1.0)


class _StraightThrough(torch.autograd.Function):
    """The squeeze, with the gradient of the identity (Bengio et al., 2013)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        return _squeezed(x, low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


class Squeeze(nn.Module):
    """Stretch [low, high] to [0, 1] and clamp what lies outside.

    On strokes that are nearly black or white it removes most of a perturbation, and
    with it the gradient: true-gradient attacks see nothing where pixels saturate and
    overstate robustness by several points. So gradients pass straight through
    (Athalye, Carlini and Wagner, 2018, section 4.1.1) in training, in attacks and in
    evaluation, except within `core.backward.true_gradient()`.

    Attributes:
        low: Pixel value that becomes 0, at least 0.
        high: Pixel value that becomes 1, at most 1.

    Raises:
        ModelError: Unless 0 <= low < high <= 1.

    Example:
        >>> Squeeze(0.25, 0.75)(torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """

    adaptive_backward: ClassVar[bool] = True

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        if not 0 <= low < high <= 1:
            raise ModelError(f"squeeze ({low}, {high}): give 0 <= low < high <= 1")
        self.low = float(low)
        self.high = float(high)

    def forward(self, x: Tensor) -> Tensor:
        """Squeezed images, shape and dtype of x, values in [0, 1]."""
        if wants_true_gradient():
            return _squeezed(x, self.low, self.high)
        straight: Tensor = _StraightThrough.apply(  # type: ignore[no-untyped-call]
            x, self.low, self.high
        )
        return straight

    def extra_repr(self) -> str:
        """Both ends, as printed with a model."""
        return f"low={self.low:g}, high={self.high:g}"
