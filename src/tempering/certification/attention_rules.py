"""Rules of softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, cast

import torch
from torch import Tensor, nn

from tempering.certification.affine_operations import Sum
from tempering.certification.arithmetic_rules import matrix_pair
from tempering.certification.convex_activations import Exponential, Reciprocal
from tempering.certification.layer_call import (
    LayerCall,
    Lowered,
    StepOutput,
    result,
    scale_shift,
)
from tempering.certification.linear_maps import LinearMap
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.precision import UNIT64, Precision
from tempering.certification.rules import register_function_rule, register_rule

_FACTORS = ("query", "key", "value")
_MOST = 60.0
"""Differences of logits beyond which a softmax is as good as 0: exp(-60) is below 1e-26."""


def _deepest(precision: Precision) -> float:
    """Twice the units that the argument of an exponential may lose before it underflows."""
    return 210.0 if precision.unit > 1e-12 else 1500.0


def softmax(call: LayerCall, dim: Any) -> Lowered:
    """1 / (sum of exp(z_j - z_i)): one convex function after another."""
    source, along = _along(call, dim)
    return result(softmax_of(call, source, along))


def softmax_of(call: LayerCall, source: StepOutput, along: int, times: int = 1) -> StepOutput:
    """The softmax of a tensor along a dimension.

    Args:
        call: The call.
        source: The tensor.
        along: The dimension, samples counted.
        times: How often the network rounds what a softmax rounds once.
    """
    moved = call.mapped(source, lambda z: z.movedim(along, -1))
    count = moved.shape[-1]
    others = 1 - torch.eye(count, dtype=torch.float64, device=call.device)

    def differences(z: Tensor) -> Tensor:
        return z.unsqueeze(-2) - z.unsqueeze(-1)

    def sums(z: Tensor) -> Tensor:
        return (z.unsqueeze(-2) + z.unsqueeze(-1)) * others

    def total(z: Tensor) -> Tensor:
        return z.sum(-1)

    exact = call.precision
    each = call.then(LinearMap(differences, sums, moved.shape, 0, 2 * count, exact), moved)
    powers = call.then(Exponential(exact, 0, 0.0, _MOST), each)
    whole = call.then(LinearMap(total, total, powers.shape, 0, 2, exact), powers)
    units, lost = times * (count + _deepest(exact) + 64), 1e-26 + count * exact.tiny
    out = call.then(Reciprocal(exact, units, lost, 1.0), whole)
    return call.mapped(out, lambda z: z.movedim(-1, along))


def log_softmax(call: LayerCall, dim: Any) -> Lowered:
    """Z less the logarithm of the sum of exp(z); differences of outputs are those of z."""
    source, along = _along(call, dim)
    count = source.shape[along - 1]
    whole = call.then(LogSumExp(along, call.precision), source)
    out = call.then(Sum(-1, call.precision), source, call.expanded(whole, source.shape))
    one = torch.ones((1,), dtype=torch.float64, device=call.device)
    rounding = scale_shift(call, one, 0 * one, 4, (log(count) + 1) * one)
    return result(call.then(rounding, out))


def _along(call: LayerCall, dim: Any) -> tuple[StepOutput, int]:
    source = call.source()
    if not isinstance(dim, int):
        raise call.refuse("without a dimension")
    along = dim % (len(source.shape) + 1)
    if along == 0:
        raise call.refuse("over samples")
    return source, along


@dataclass(frozen=True, eq=False)
class LogSumExp(Nonlinear):
    """log of the sum of exp(z) along a dimension, which stays with length 1.

    Attributes:
        dim: The dimension, samples counted.
        precision: How the network rounds.
    """

    dim: int
    precision: Precision

    def value(self, z: Tensor) -> Tensor:
        """The exact function, in float64."""
        return z.logsumexp(self.dim, keepdim=True)

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Both ends: it grows with every number."""
        out = IntervalTensor(self.value(given[0].low), self.value(given[0].high))
        size = given[0].size().amax(self.dim, keepdim=True) + out.size() + 1
        units = given[0].low.shape[self.dim] + _deepest(self.precision) + 64
        lines = 8 * (given[0].low[0].numel() + 256) * UNIT64
        return out, (self.precision.values(units) + lines) * size

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """All inputs that are not known."""
        return given.low < given.high

    def relax(self, given: IntervalTensor) -> LogSumExpPlanes:
        """Below, the tangent at the centre, of a convex function; above, the largest value."""
        centre = (given.low + given.high) / 2
        share = centre.softmax(self.dim)
        at = self.value(centre) - (share * centre).sum(self.dim, keepdim=True)
        return LogSumExpPlanes(share, at, self.value(given.high))


@dataclass(frozen=True, eq=False)
class LogSumExpPlanes:
    """Linear bounds of the logarithm of a sum of exponentials.

    Attributes:
        share: Slopes of the lower bound, shape (n, ...).
        offset: Of the lower bound.
        top: The largest value.
    """

    share: Tensor
    offset: Tensor
    top: Tensor

    def pull(self, a: Tensor, rows: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The tangent where a coefficient is positive, the largest value elsewhere."""
        up, down = a.clamp_min(0.0), a.clamp_max(0.0)
        constant = (up * self.offset[rows] + down * self.top[rows]).flatten(1).sum(1)
        return up * self.share[rows], constant


@register_function_rule("scaled_dot_product_attention")
def _attention(call: LayerCall) -> Lowered:
    """softmax(Q K^T / sqrt(d)) V."""
    given = [*call.args, *(call.kwargs[name] for name in _FACTORS if name in call.kwargs)]
    options = {name: value for name, value in call.kwargs.items() if name not in _FACTORS}
    scale = options.pop("scale", None)
    if len(given) != 3 or not all(isinstance(part, StepOutput) for part in given):
        raise call.refuse("with other arguments than query, key and value")
    if any(options.values()):
        raise call.refuse("with a mask or dropout")
    query, key, value = given
    turned = call.mapped(key, lambda z: z.transpose(-1, -2))
    scores = matrix_pair(call, query, turned)
    number = query.shape[-1] ** -0.5 if scale is None else call.rounded(scale)
    factor = torch.full((1,), number, dtype=torch.float64, device=call.device)
    scores = call.then(scale_shift(call, factor, 0 * factor, 8), scores)
    # it may rescale what it has summed, each time that it meets a larger score
    weights = softmax_of(call, scores, len(scores.shape), times=2)
    return result(matrix_pair(call, weights, value))


@register_rule(nn.Softmax, nn.LogSoftmax)
def _layer(call: LayerCall) -> Lowered:
    layer = cast(nn.Softmax, call.module)
    rule = softmax if isinstance(call.module, nn.Softmax) else log_softmax
    return rule(call, layer.dim)


@register_function_rule("softmax")
def _softmax(call: LayerCall) -> Lowered:
    return softmax(call, call.bind(dim=None, _stacklevel=3, dtype=None)["dim"])


@register_function_rule("log_softmax")
def _log_softmax(call: LayerCall) -> Lowered:
    return log_softmax(call, call.bind(dim=None, _stacklevel=3, dtype=None)["dim"])
