"""Rules of sums, products, matrix products and extremes."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from tempering.certification.affine_operations import MatrixProduct, Sum
from tempering.certification.bilinear_products import (
    BilinearProduct,
    ElementwiseProduct,
    MatrixPairProduct,
)
from tempering.certification.convex_activations import (
    Exponential,
    InverseRoot,
    NegatedLog,
    NegatedRoot,
    Reciprocal,
    Square,
)
from tempering.certification.kinked_activations import Kinked
from tempering.certification.layer_call import (
    LayerCall,
    Lowered,
    StepOutput,
    in_sequence,
    matrix_product,
    rearranged,
    result,
    scale_shift,
)
from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.linear_maps import LinearMap, Packing, Stacking
from tempering.certification.max_pooling import MaxPooling, PoolingWindows
from tempering.certification.operations import Operation
from tempering.certification.rules import Rule


def total(sign: int) -> Rule:
    """Sums and differences, of two tensors or with a constant."""

    def made(call: LayerCall) -> Lowered:
        left, right = operands(call)
        if call.kwargs.get("alpha", 1) != 1:
            raise call.refuse("with alpha")
        if isinstance(left, StepOutput) and isinstance(right, StepOutput):
            left, right = (call.expanded(side, call.shape) for side in (left, right))
            return [Sum(sign, call.precision)], (left.step, right.step)
        if isinstance(left, StepOutput):
            return _shifted(call, left, 1, right, sign)
        return _shifted(call, right, sign, left, 1)

    return made


def reversed_difference(call: LayerCall) -> Lowered:
    """`rsub`: the second less the first."""
    left, right = operands(call)
    if isinstance(right, StepOutput):
        raise call.refuse("of two tensors: write it as a difference")
    return _shifted(call, left, -1, right, 1)


def operands(call: LayerCall) -> tuple[Any, Any]:
    """The two arguments."""
    given = [
        *call.args,
        *(call.kwargs[name] for name in ("input", "other") if name in call.kwargs),
    ]
    extra = set(call.kwargs) - {"input", "other", "alpha"}
    if len(given) != 2 or extra:
        raise call.refuse(f"with {', '.join(sorted(extra)) or len(given)} arguments")
    return given[0], given[1]


def _shifted(call: LayerCall, source: StepOutput, own: int, value: Any, sign: int) -> Lowered:
    dims = len(source.shape)
    shift = sign * call.constant(value, dims)
    scale = torch.full([1] * (dims + 1), float(own), dtype=torch.float64, device=call.device)
    return _on(call, source, scale_shift(call, scale, shift, 4))


def _on(call: LayerCall, source: StepOutput, operation: Operation) -> Lowered:
    """An operation with a constant, whose shape the tensor is broadcast to."""
    return [operation], (call.expanded(source, call.shape).step,)


def product(call: LayerCall) -> Lowered:
    """A product, of two tensors or with a constant."""
    left, right = operands(call)
    if isinstance(left, StepOutput) and isinstance(right, StepOutput):
        return result(product_of(call, left, right))
    source, value = (left, right) if isinstance(left, StepOutput) else (right, left)
    scale = call.constant(value, len(source.shape))
    return _on(call, source, scale_shift(call, scale, torch.zeros_like(scale), 4))


def product_of(call: LayerCall, left: StepOutput, right: StepOutput) -> StepOutput:
    """The product of two tensors, number by number; a square if they are the same."""
    if left == right:
        return call.then(Square(call.precision), left)
    shape = _common(left.shape, right.shape)
    left, right = (call.expanded(side, shape) for side in (left, right))
    return paired(call, ElementwiseProduct(shape, shape, call.precision), left, right)


def _common(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that both are broadcast to."""
    return tuple((torch.empty(left, device="meta") + torch.empty(right, device="meta")).shape)


def paired(
    call: LayerCall, operation: BilinearProduct, left: StepOutput, right: StepOutput
) -> StepOutput:
    """A product of two tensors."""
    return call.then(operation, call.then(Packing((left.shape, right.shape)), left, right))


def quotient(call: LayerCall) -> Lowered:
    """Divided by a constant, or by a tensor of positive numbers."""
    left, right = operands(call)
    if isinstance(right, StepOutput):
        below = call.then(Reciprocal(call.precision), right)
        if isinstance(left, StepOutput):
            return result(product_of(call, left, below))
        scale = call.constant(left, len(below.shape))
        return _on(call, below, scale_shift(call, scale, torch.zeros_like(scale), 4))
    divisor = call.constant(right, len(left.shape))
    if bool((divisor == 0).any()):
        raise call.refuse("by zero")
    return _on(call, left, scale_shift(call, 1 / divisor, torch.zeros_like(divisor), 8))


def reciprocal(call: LayerCall) -> Lowered:
    """1 / z of positive numbers."""
    return in_sequence(call, Reciprocal(call.precision))


def inverse_root(call: LayerCall) -> Lowered:
    """1 / sqrt(z) of positive numbers."""
    return in_sequence(call, InverseRoot(call.precision))


def root(call: LayerCall) -> Lowered:
    """sqrt(z) of positive numbers."""
    return in_sequence(call, NegatedRoot(call.precision), _opposite(call))


def logarithm(call: LayerCall) -> Lowered:
    """log(z) of positive numbers."""
    return in_sequence(call, NegatedLog(call.precision), _opposite(call))


def _opposite(call: LayerCall) -> Operation:
    one = torch.full((1,), 1.0, dtype=torch.float64, device=call.device)
    return scale_shift(call, -one, 0 * one, 0)


def negated(call: LayerCall) -> Lowered:
    """The opposite."""
    return _shifted(call, call.source(), -1, 0.0, 1)


def square(call: LayerCall) -> Lowered:
    """Z squared."""
    return in_sequence(call, Square(call.precision))


def power(call: LayerCall, exponent: Any) -> Lowered:
    """Z squared; other powers are refused."""
    if exponent == 1:
        return [], (call.source().step,)
    if exponent != 2:
        raise call.refuse(f"with the exponent {exponent}: multiply instead")
    return square(call)


def exponential(call: LayerCall) -> Lowered:
    """exp(z)."""
    return in_sequence(call, Exponential(call.precision))


def absolute(call: LayerCall) -> Lowered:
    """The absolute value."""
    factor = torch.full((1,), -1.0, dtype=torch.float64, device=call.device)
    return in_sequence(call, Kinked(call.precision, factor))


def averaged(call: LayerCall, dim: Any, keepdim: Any, dtype: Any) -> Lowered:
    """Mean over dimensions of a sample."""
    dims, terms = _dims(call, dim, dtype, "averages")
    return rearranged(call, lambda z: z.mean(dims, bool(keepdim)), terms)


def summed(call: LayerCall, dim: Any, keepdim: Any, dtype: Any) -> Lowered:
    """Sum over dimensions of a sample."""
    dims, terms = _dims(call, dim, dtype, "adds")

    def run(z: Tensor) -> Tensor:
        return z.sum(dims, bool(keepdim))

    return in_sequence(call, LinearMap(run, run, call.source().shape, terms, 1, call.precision))


def _dims(call: LayerCall, dim: Any, dtype: Any, verb: str) -> tuple[list[int], int]:
    """Dimensions of a sample, and how many numbers a sum along them has."""
    shape = call.source().shape
    given = dim if isinstance(dim, tuple | list) else (dim,)
    if dtype is not None or not given or not all(isinstance(d, int) for d in given):
        raise call.refuse(f"over the dimensions {dim!r}")
    dims = sorted(d % (len(shape) + 1) for d in given)
    if dims[0] == 0:
        raise call.refuse(f"it {verb} samples")
    terms = prod(shape[d - 1] for d in dims)
    if not call.precision.can_sum(terms + 2):
        raise call.refuse(f"with sums of {terms} terms")
    return dims, terms


def extreme(sign: int) -> Rule:
    """The larger (1) or the smaller (-1) of two numbers, one of which may be a constant."""

    def made(call: LayerCall) -> Lowered:
        left, right = operands(call)
        if isinstance(left, StepOutput) and isinstance(right, StepOutput):
            left, right = (call.expanded(side, call.shape) for side in (left, right))
            return result(_largest_of_two(call, left, right, sign))
        source, value = (left, right) if isinstance(left, StepOutput) else (right, left)
        constant = call.constant(value, len(source.shape))
        ones = sign * torch.ones_like(constant)
        source = call.expanded(source, call.shape)
        above = scale_shift(call, ones, -sign * constant, 0)
        back = scale_shift(call, ones, constant, 0)
        return [above, LeakyRectifier(0.0, call.precision), back], (source.step,)

    return made


def _largest_of_two(call: LayerCall, left: StepOutput, right: StepOutput, sign: int) -> StepOutput:
    """Max-pooling over windows of the two."""
    shape = left.shape
    pair = call.then(Stacking(1), left, right)
    ones = torch.full((1,), float(sign), dtype=torch.float64, device=call.device)
    turn = scale_shift(call, ones, torch.zeros_like(ones), 0)
    if sign < 0:
        pair = call.then(turn, pair)
    windows = call.mapped(pair, lambda z: z.flatten(2).transpose(1, 2).unsqueeze(-1))
    pool = MaxPooling(PoolingWindows((2, 1), (2, 1), (0, 0), (1, 1)))
    largest = call.then(pool, windows)
    out = call.mapped(largest, lambda z: z.reshape(len(z), *shape))
    return call.then(turn, out) if sign < 0 else out


def largest(call: LayerCall, dim: Any, _keepdim: Any) -> Lowered:
    """`amax`: the largest number along dimensions of a sample."""
    source = call.source()
    dims, count = _dims(call, dim, None, "compares")
    others = [d for d in range(1, len(source.shape) + 1) if d not in dims]
    rest, shape = prod(source.shape[d - 1] for d in others), call.shape
    windows = call.mapped(
        source, lambda z: z.permute(0, *others, *dims).reshape(len(z), rest, count, 1)
    )
    pool = MaxPooling(PoolingWindows((count, 1), (count, 1), (0, 0), (1, 1)))
    out = call.then(pool, windows)
    return result(call.mapped(out, lambda z: z.reshape(len(z), *shape)))


def matrix_products(call: LayerCall) -> Lowered:
    """`matmul` and `bmm`: of two tensors, or with a constant."""
    left, right = operands(call)
    if isinstance(left, StepOutput) and isinstance(right, StepOutput):
        return result(matrix_pair(call, left, right))
    if isinstance(left, StepOutput):
        return _times_constant(call, left, right)
    weight = call.constant(left, len(right.shape))[0]
    if weight.ndim < 2 or len(right.shape) < 2:
        raise call.refuse(f"of shapes {tuple(weight.shape)} and {right.shape}")
    terms, fan_out = weight.shape[-1], weight.shape[-2]
    size = weight.abs()
    if not call.precision.can_sum(terms):
        raise call.refuse(f"with sums of {terms} terms")
    operation = LinearMap(
        lambda z: weight @ z, lambda z: size @ z, right.shape, terms, fan_out, call.precision
    )
    return [operation], (right.step,)


def _times_constant(call: LayerCall, left: StepOutput, right: Any) -> Lowered:
    if not isinstance(right, Tensor) or not right.is_floating_point():
        raise call.refuse(f"with {right!r}")
    if right.ndim > 2 and all(size == 1 for size in right.shape[:-2]):
        right = right.reshape(right.shape[-2:])
    if right.ndim != 2:
        raise call.refuse(f"with a constant of shape {tuple(right.shape)}: give a matrix")
    weight = right.detach().double().T.contiguous()
    if not call.precision.can_sum(weight.shape[1] + 1):
        raise call.refuse(f"with sums of {weight.shape[1]} terms")
    bias = weight.new_zeros(len(weight))
    return [MatrixProduct(weight, bias, call.precision)], (left.step,)


def matrix_pair(call: LayerCall, left: StepOutput, right: StepOutput) -> StepOutput:
    """The matrix product of two tensors."""
    if min(len(left.shape), len(right.shape)) < 2 or len(left.shape) != len(right.shape):
        raise call.refuse(f"of shapes {left.shape} and {right.shape}")
    ahead = _common(left.shape[:-2], right.shape[:-2])
    left = call.expanded(left, (*ahead, *left.shape[-2:]))
    right = call.expanded(right, (*ahead, *right.shape[-2:]))
    if not call.precision.can_sum(left.shape[-1] + 1):
        raise call.refuse(f"with sums of {left.shape[-1]} terms")
    operation = MatrixPairProduct(left.shape, right.shape, call.precision)
    return paired(call, operation, left, right)


def added_product(call: LayerCall) -> Lowered:
    """`addmm`: a constant plus a product with a constant matrix."""
    given = list(call.args)
    if len(given) != 3 or call.kwargs or not isinstance(given[1], StepOutput):
        raise call.refuse("with other arguments than (bias, tensor, matrix)")
    bias, source, weight = given
    if not isinstance(bias, Tensor) or not isinstance(weight, Tensor) or bias.ndim != 1:
        raise call.refuse("with a bias or matrix that depends on the images or has other shapes")
    return matrix_product(call, weight.T, bias.expand(weight.shape[1]), source)
