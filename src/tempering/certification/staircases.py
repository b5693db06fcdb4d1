"""Steps whose outputs take few values: hard thresholds and roundings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tempering.certification.layer_call import LayerCall, Lowered, StepOutput, in_sequence
from tempering.certification.linear_bounds import LinearBounds
from tempering.certification.operations import IntervalTensor, Nonlinear
from tempering.certification.precision import Precision
from tempering.certification.rules import declares, register_function_rule, register_rule
from tempering.core.declared_stages import even_images, false_declaration
from tempering.core.protocols import Transform


@dataclass(frozen=True, eq=False)
class Staircase(Nonlinear):
    """A step function that does not decrease, number by number.

    Values are computed in the network's own type, from ends that are rounded outwards to it: they
    hold for the step as it runs, and it has no rounding of its own.

    Attributes:
        corners: From lower and upper ends in the network's type to its least and largest values.
        precision: How the network rounds.
        edges: Of a hard threshold, where it jumps: at the lower edge and below it has its lower
            value, above the upper edge its higher one; broadcastable to (1, ...). None if it has
            more values than two.
    """

    corners: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    precision: Precision
    edges: IntervalTensor | None = None
    pointwise = True

    def interval(self, given: Sequence[IntervalTensor]) -> tuple[IntervalTensor, Tensor]:
        """Map both ends."""
        low, high = _outwards(given[0], torch.float32 if self._single else torch.float64)
        out = IntervalTensor(*(end.double() for end in self.corners(low, high)))
        return out, torch.zeros_like(out.low[:1])

    @property
    def _single(self) -> bool:
        return self.precision.unit > 1e-12

    def unsettled(self, given: IntervalTensor) -> Tensor:
        """Inputs that may lie on more steps than one."""
        (low, high), _ = self.interval([given])
        return low < high

    def relax(self, given: IntervalTensor) -> LinearBounds:
        """Constants: its values at the ends."""
        (low, high), _ = self.interval([given])
        flat = torch.zeros_like(low)
        return LinearBounds(flat, low, flat, high)


def _outwards(given: IntervalTensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Ends in another type, not further inwards."""
    low, high = given.low.to(dtype), given.high.to(dtype)
    end = torch.full_like(low, torch.inf)
    low = torch.where(low.double() > given.low, torch.nextafter(low, -end), low)
    return low, torch.where(high.double() < given.high, torch.nextafter(high, end), high)


@register_rule(Transform)
def _stepwise(call: LayerCall) -> Lowered:
    """A transform that declares that it is stepwise."""
    stage = call.module
    shape = call.source().shape
    if not isinstance(stage, Transform) or tuple(call.shape) != shape:
        raise call.refuse("that changes the shape of images")
    if not (stage.monotone and declares(stage, "monotone")):
        raise call.refuse("that is stepwise but does not declare that it is monotone")
    known = len(shape) == 3 and declares(stage, "thresholds")
    jumps = stage.thresholds((shape[0], shape[1], shape[2])) if known else None
    _refuse_false_declarations(call, stage, jumps)
    edges = None if jumps is None else _edges(jumps.double().to(call.device)[None])

    def corners(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        # not `box_after`: a subclass may override that, and it is not what runs
        return stage.transform(low), stage.transform(high)

    return in_sequence(call, Staircase(corners, call.precision, edges))


def _refuse_false_declarations(call: LayerCall, stage: Transform, jumps: Tensor | None) -> None:
    """Refuse a transform that is not what it declares, on some random and some even images."""
    dtype = torch.float32 if call.precision.unit > 1e-12 else torch.float64
    like = torch.zeros(call.source().shape, device=call.device, dtype=dtype)
    wrong = false_declaration(stage, like)
    if wrong is not None:
        raise call.refuse(f"that says it is monotone, but {wrong}")
    if jumps is None:
        return
    jumps = jumps.to(like).expand(like.shape)[None]
    even = even_images(like)
    images = torch.cat([even, jumps, torch.nextafter(jumps, torch.ones_like(jumps))])
    out = stage.transform(images.clone())
    if not torch.equal(out, torch.where(images > jumps, out[len(even) - 1], out[0])):
        raise call.refuse("that does not jump at its thresholds")


def _edges(jumps: Tensor) -> IntervalTensor:
    """Where a comparison jumps, whether or not the constant is rounded to float32 first."""
    rounded = jumps.float().double()
    return IntervalTensor(torch.minimum(jumps, rounded), torch.maximum(jumps, rounded))


def _comparison(inclusive: bool) -> Callable[[LayerCall], Lowered]:
    """Whether numbers are above a constant, as 0 and 1."""

    def made(call: LayerCall) -> Lowered:
        source, value = _sides(call)
        edges = _edges(call.constant(value, len(source.shape)))
        if tuple(call.shape) != source.shape:
            raise call.refuse("with a constant of more numbers")

        def corners(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
            least, most = low.double(), high.double()
            if inclusive:
                return (least >= edges.high).to(low), (most >= edges.low).to(low)
            return (least > edges.high).to(low), (most > edges.low).to(low)

        return in_sequence(call, Staircase(corners, call.precision, edges))

    return made


def _sides(call: LayerCall) -> tuple[StepOutput, Any]:
    given = [*call.args, *call.kwargs.values()]
    if len(given) != 2 or not isinstance(given[0], StepOutput) or isinstance(given[1], StepOutput):
        raise call.refuse("of other things than images and a constant")
    return given[0], given[1]


register_function_rule("gt")(_comparison(inclusive=False))
register_function_rule("ge")(_comparison(inclusive=True))
