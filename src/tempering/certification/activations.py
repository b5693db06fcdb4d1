"""Which activation is which operation."""

from __future__ import annotations

import math
from typing import Any

from tempering.certification.curves import GELU, Clamp, Sigmoid, SiLU, Softplus, Tanh
from tempering.certification.rectifier import Rectifier
from tempering.certification.request import Made, Request, alone


def relu(request: Request) -> Made:
    """max(z, 0)."""
    return alone(request, Rectifier(0.0, request.precision))


def leaky_relu(request: Request, slope: Any) -> Made:
    """Slope below zero in [0, 1)."""
    if not 0 <= float(slope) < 1:
        raise request.refuse(f"with the negative slope {slope}")
    return alone(request, Rectifier(request.rounded(slope), request.precision))


def sigmoid(request: Request) -> Made:
    """The logistic function."""
    return alone(request, Sigmoid(request.precision))


def tanh(request: Request) -> Made:
    """The hyperbolic tangent."""
    return alone(request, Tanh(request.precision))


def silu(request: Request) -> Made:
    """Z times its sigmoid."""
    return alone(request, SiLU(request.precision))


def gelu(request: Request, approximate: Any) -> Made:
    """The exact one alone."""
    if approximate != "none":
        raise request.refuse(f"with approximate={approximate!r}")
    return alone(request, GELU(request.precision))


def softplus(request: Request, beta: Any, threshold: Any) -> Made:
    """Beta above 0, threshold at least 0."""
    if not (0 < float(beta) < math.inf and 0 <= float(threshold) < 700):
        raise request.refuse(f"with beta {beta} and threshold {threshold}")
    return alone(request, Softplus(request.precision, float(beta), float(threshold)))


def clamp(request: Request, least: Any, most: Any) -> Made:
    """Constant ends; either may be missing."""
    ends = [
        missing if end is None else request.rounded(end)
        for end, missing in ((least, -math.inf), (most, math.inf))
        if isinstance(end, int | float) or end is None
    ]
    if len(ends) != 2 or not ends[0] <= ends[1]:
        raise request.refuse(f"between {least} and {most}")
    return alone(request, Clamp(request.precision, ends[0], ends[1]))
