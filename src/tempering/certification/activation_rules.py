"""Rules of activation functions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tempering.certification.kinked_activations import (
    SELU_ALPHA,
    SELU_SCALE,
    Elu,
    Hardswish,
    Kinked,
)
from tempering.certification.layer_call import LayerCall, Lowered, in_sequence, scale_shift
from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.smooth_activations import (
    GELU,
    Clamp,
    Mish,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    TanhGELU,
)


def relu(call: LayerCall) -> Lowered:
    """max(z, 0)."""
    return in_sequence(call, LeakyRectifier(0.0, call.precision))


def leaky_relu(call: LayerCall, slope: Any) -> Lowered:
    """Leaky ReLU of any negative slope."""
    if not math.isfinite(float(slope)):
        raise call.refuse(f"with the negative slope {slope}")
    return prelu(call, torch.tensor([call.rounded(slope)], dtype=torch.float64))


def prelu(call: LayerCall, weight: Any) -> Lowered:
    """Z where it is positive, else z times a slope, one for all or one a channel."""
    if not isinstance(weight, Tensor):
        raise call.refuse("with slopes that are no tensor")
    slopes = weight.detach().double().flatten().to(call.device)
    form = [1] * (len(call.source().shape) + 1)
    if len(slopes) > 1:
        form[1] = len(slopes)
    if len(slopes) == 1 and 0 <= float(slopes) < 1:
        return in_sequence(call, LeakyRectifier(float(slopes), call.precision))
    return in_sequence(call, Kinked(call.precision, slopes.reshape(form)))


def sigmoid(call: LayerCall) -> Lowered:
    """The logistic function."""
    return in_sequence(call, Sigmoid(call.precision))


def tanh(call: LayerCall) -> Lowered:
    """The hyperbolic tangent."""
    return in_sequence(call, Tanh(call.precision))


def silu(call: LayerCall) -> Lowered:
    """SiLU: z times its sigmoid."""
    return in_sequence(call, SiLU(call.precision))


def gelu(call: LayerCall, approximate: Any) -> Lowered:
    """GELU, exact or with the tanh approximation."""
    kind = TanhGELU if approximate == "tanh" else GELU
    return in_sequence(call, kind(call.precision))


def mish(call: LayerCall) -> Lowered:
    """Z times the tanh of its softplus."""
    return in_sequence(call, Mish(call.precision))


def hardswish(call: LayerCall) -> Lowered:
    """Z times clamp(z + 3, 0, 6) / 6."""
    return in_sequence(call, Hardswish(call.precision))


def hardsigmoid(call: LayerCall) -> Lowered:
    """clamp(z + 3, 0, 6) / 6."""
    sixth = torch.full((1,), 1 / 6, dtype=torch.float64, device=call.device)
    return in_sequence(
        call, scale_shift(call, sixth, 3 * sixth, 8), Clamp(call.precision, 0.0, 1.0)
    )


def elu(call: LayerCall, alpha: Any, scale: Any = 1.0, stretch: Any = 1.0) -> Lowered:
    """ELU, SELU and CELU."""
    numbers = [float(number) for number in (alpha, scale, stretch)]
    if not all(0 < number < 1e6 for number in numbers):
        raise call.refuse(f"with alpha {alpha}: give a number above 0")
    return in_sequence(call, Elu(call.precision, *numbers))


def celu(call: LayerCall, alpha: Any) -> Lowered:
    """ELU of which both sides meet with slope 1."""
    return elu(call, alpha, 1.0, 1 / float(alpha) if alpha else 0.0)


def selu(call: LayerCall) -> Lowered:
    """Scaled ELU."""
    return elu(call, SELU_ALPHA, SELU_SCALE)


def softplus(call: LayerCall, beta: Any, threshold: Any) -> Lowered:
    """Softplus with beta above 0 and a threshold of at least 0."""
    if not (0 < float(beta) < math.inf and 0 <= float(threshold) < 700):
        raise call.refuse(f"with beta {beta} and threshold {threshold}")
    return in_sequence(call, Softplus(call.precision, float(beta), float(threshold)))


def clamp(call: LayerCall, least: Any, most: Any) -> Lowered:
    """Clamp between constants; either may be None."""
    ends = [
        missing if end is None else call.rounded(end)
        for end, missing in ((least, -math.inf), (most, math.inf))
        if isinstance(end, int | float) or end is None
    ]
    if len(ends) != 2 or not ends[0] <= ends[1]:
        raise call.refuse(f"between {least} and {most}")
    return in_sequence(call, Clamp(call.precision, ends[0], ends[1]))
