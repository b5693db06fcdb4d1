"""Rules of functions that move, copy, join or leave out numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.affine_operations import Concatenation
from tempering.certification.layer_call import (
    LayerCall,
    Lowered,
    SeveralTensors,
    StepOutput,
    rearranged,
    result,
    scale_shift,
)
from tempering.certification.linear_maps import Stacking

SPLITS: dict[str, Callable[..., Sequence[Tensor]]] = {
    "chunk": torch.chunk,
    "split": torch.split,
    "tensor_split": torch.tensor_split,
    "unbind": torch.unbind,
    "permute": lambda z, *dims, **named: z.permute(*dims, **named).unbind(0),
}
"""Functions that return several tensors."""
SHAPED = ("view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "expand", "repeat")
"""Functions whose rule reads the shape of the result, whatever sizes they were given."""


def reshaped(call: LayerCall) -> Lowered:
    """Another shape for the numbers of a sample."""
    shape = call.shape
    return rearranged(call, lambda z: z.reshape(len(z), *shape))


def same(call: LayerCall, *_: Any) -> Lowered:
    """The same numbers."""
    return [], (call.source().step,)


def dropout(call: LayerCall, _p: Any, training: Any, _inplace: Any = False) -> Lowered:
    """Nothing, in evaluation mode."""
    if training:
        raise call.refuse("in training mode")
    return same(call)


def permuted(call: LayerCall) -> Lowered:
    """Another order of the dimensions of a sample."""
    given = call.args[1:] or tuple(call.kwargs.values())
    dims = given[0] if given and isinstance(given[0], tuple | list) else given
    order = [int(dim) % (len(call.source().shape) + 1) for dim in dims]
    if order[0] != 0:
        raise call.refuse("it moves the samples")
    return rearranged(call, lambda z: z.permute(order))


def transposed(call: LayerCall, dim0: int, dim1: int) -> Lowered:
    """Two dimensions of a sample exchanged."""
    count = len(call.source().shape) + 1
    if 0 in (dim0 % count, dim1 % count):
        raise call.refuse("it moves the samples")
    return rearranged(call, lambda z: z.transpose(dim0, dim1))


def moved(call: LayerCall, source: Any, destination: Any) -> Lowered:
    """Dimensions of a sample moved elsewhere."""
    count = len(call.source().shape) + 1
    start, end = ([dim] if isinstance(dim, int) else list(dim) for dim in (source, destination))
    if 0 in [dim % count for dim in (*start, *end)]:
        raise call.refuse("it moves the samples")
    return rearranged(call, lambda z: z.movedim(start, end))


def item(call: LayerCall) -> Lowered:
    """A part of a tensor, or one of several tensors."""
    given, at = call.args
    if isinstance(given, SeveralTensors):
        run, place = given.run, at
        shape = given.source.shape
        taken = run(torch.empty(2, *shape))[place]
        if taken.shape[0] != 2 or tuple(taken.shape[1:]) != call.shape:
            raise call.refuse("it separates the samples")
        return result(call.mapped(given.source, lambda z: run(z)[place]))
    places = at if isinstance(at, tuple) else (at,)
    simple = all(isinstance(place, int | slice | None | type(Ellipsis)) for place in places)
    if not simple or places[0] not in (slice(None), Ellipsis):
        raise call.refuse(f"at {at!r}")
    return rearranged(call, lambda z: z[places])


def narrowed(call: LayerCall, dim: int, start: int, length: int) -> Lowered:
    """A range along a dimension of a sample."""
    if dim % (len(call.source().shape) + 1) == 0:
        raise call.refuse("it leaves samples out")
    return rearranged(call, lambda z: z.narrow(dim, start, length))


def selected(call: LayerCall, dim: int, index: int) -> Lowered:
    """One place along a dimension of a sample."""
    if dim % (len(call.source().shape) + 1) == 0:
        raise call.refuse("it leaves samples out")
    return rearranged(call, lambda z: z.select(dim, index))


def flipped(call: LayerCall, dims: Any) -> Lowered:
    """Reversed along dimensions of a sample."""
    order = [dims] if isinstance(dims, int) else list(dims)
    if 0 in [dim % (len(call.source().shape) + 1) for dim in order]:
        raise call.refuse("it reverses the samples")
    return rearranged(call, lambda z: z.flip(order))


def broadcast(call: LayerCall) -> Lowered:
    """Copies along dimensions of length 1."""
    return result(call.expanded(call.source(), call.shape))


def repeated(call: LayerCall) -> Lowered:
    """Copies side by side along the dimensions of a sample."""
    given = call.args[1:] or tuple(call.kwargs.values())
    times = list(given[0]) if given and isinstance(given[0], tuple | list) else list(given)
    if len(times) != len(call.source().shape) + 1 or times[0] != 1:
        raise call.refuse(f"{tuple(times)} times")
    return result(call.mapped(call.source(), lambda z: z.repeat(times)))


def padded(call: LayerCall, pad: Any, mode: Any, value: Any) -> Lowered:
    """Padding: constant, reflected, replicated or circular."""
    return result(padded_source(call, call.source(), pad, str(mode), value))


def padded_source(
    call: LayerCall, source: StepOutput, pad: Any, mode: str, value: Any = None
) -> StepOutput:
    """A padded tensor.

    Args:
        call: The call.
        source: What is padded.
        pad: As torch writes it: pairs, the last dimension first.
        mode: `constant` or what torch knows.
        value: Of constant padding.
    """
    ends = [int(end) for end in pad]
    if len(ends) // 2 > len(source.shape):
        raise call.refuse("it pads the samples")
    if mode != "constant":
        return call.mapped(source, lambda z: F.pad(z, ends, mode))
    out = call.mapped(source, lambda z: F.pad(z, ends))
    fill = call.rounded(value or 0.0)
    if not fill:
        return out
    inner = torch.zeros(1, *source.shape, dtype=torch.float64, device=call.device)
    shift = F.pad(inner, ends, value=fill)
    return call.then(scale_shift(call, torch.ones_like(shift), shift, 0), out)


def joined(call: LayerCall) -> Lowered:
    """Tensors concatenated; some may be constants."""
    parts, along = _parts(call)
    sources = [part for part in parts if isinstance(part, StepOutput)]
    fixed: dict[int, Tensor] = {}
    for place, part in enumerate(parts):
        if not isinstance(part, StepOutput):
            shape = list(sources[0].shape)
            constant = call.constant(part, len(shape))
            shape[along - 1] = constant.shape[along]
            fixed[place] = constant.expand(1, *shape)
    sizes = tuple(
        part.shape[along - 1] if isinstance(part, StepOutput) else fixed[place].shape[along]
        for place, part in enumerate(parts)
    )
    operation = Concatenation(along, sizes, fixed)
    return [operation], tuple(source.step for source in sources)


def stacked(call: LayerCall) -> Lowered:
    """Tensors stacked along a new dimension."""
    parts, along = _parts(call)
    if not all(isinstance(part, StepOutput) for part in parts):
        raise call.refuse("with a constant: give cat")
    return [Stacking(along)], tuple(part.step for part in parts)


def _parts(call: LayerCall) -> tuple[Sequence[Any], int]:
    """The tensors, and the dimension."""
    given = call.args[0] if call.args else call.kwargs.get("tensors")
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)
    if isinstance(given, SeveralTensors):
        raise call.refuse("of all parts of a tensor: join them one by one")
    if not isinstance(given, tuple | list) or not any(isinstance(p, StepOutput) for p in given):
        raise call.refuse("of tensors that do not depend on the images")
    along = int(dim) % (len(call.shape) + 1)
    if along == 0:
        raise call.refuse("it adds samples")
    return given, along
