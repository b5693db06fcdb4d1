"""Rules of activation functions."""

from __future__ import annotations

import math
from typing import Any

from tempering.certification.layer_call import LayerCall, Lowered, in_sequence
from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.smooth_activations import GELU, Clamp, Sigmoid, SiLU, Softplus, Tanh


def relu(call: LayerCall) -> Lowered:
    """max(z, 0)."""
    return in_sequence(call, LeakyRectifier(0.0, call.precision))


def leaky_relu(call: LayerCall, slope: Any) -> Lowered:
    """Leaky ReLU with a negative slope in [0, 1)."""
    if not 0 <= float(slope) < 1:
        raise call.refuse(f"with the negative slope {slope}")
    return in_sequence(call, LeakyRectifier(call.rounded(slope), call.precision))


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
    """GELU, without the tanh approximation."""
    if approximate != "none":
        raise call.refuse(f"with approximate={approximate!r}")
    return in_sequence(call, GELU(call.precision))


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
