"""Finds the logits before the increasing functions that a model ends with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tempering.core.torch_functions import functions_named, in_place

_SOFTMAX = (
    torch.softmax,
    Tensor.softmax,
    nn.functional.softmax,
    torch.log_softmax,
    Tensor.log_softmax,
    nn.functional.log_softmax,
)

_FLAT = (
    "exp sqrt sigmoid tanh erf atan clamp clip clamp_min clamp_max relu relu6 hardtanh "
    "hardsigmoid softsign logsigmoid"
)
"""Functions of one number that are flat, or become so, where the logits are large or small."""
_STEEP = "log log2 log10 log1p softplus elu leaky_relu"
_UNARY = functions_named(f"{_FLAT} {_STEEP}")
_IN_PLACE = functions_named(in_place(f"{_FLAT} {_STEEP}"))
_EXTREMES = functions_named("maximum minimum max min")
_SHIFTS = functions_named("add sub __add__ __radd__ __sub__")
_SCALES = functions_named("mul div __mul__ __rmul__ __truediv__")
_FLATTENS = functions_named("softmax " + _FLAT) | functions_named(in_place(_FLAT)) | _EXTREMES


class FinalStage(TorchFunctionMode):
    """Within it, the input of every increasing function of logits is remembered.

    Functions are a softmax over classes, and functions that act on every number alike, such as
    a sigmoid, a logarithm, clipping, or a sum with one number, in place or not. They leave the
    order of the classes as it is, except for ties.

    Example:
        >>> logits = torch.tensor([[1.0, 9.0]])
        >>> with FinalStage() as stage:
        ...     outputs = torch.log(torch.softmax(logits, 1).clamp(min=1e-7))
        >>> stage.logits_of(outputs)
        tensor([[1., 9.]])
    """

    def __init__(self) -> None:
        super().__init__()
        self._inputs: dict[int, tuple[Tensor, Tensor, bool]] = {}
        """By the identity of an output: the output, its input, whether the function can be flat."""

    def logits_of(self, outputs: Tensor) -> Tensor | None:
        """What the increasing functions that end in `outputs` began with; None without any."""
        steps = self._steps(outputs)
        return steps[-1][1] if steps else None

    def flattens(self, outputs: Tensor) -> bool:
        """Whether one of these functions can be flat."""
        return any(flat for _, _, flat in self._steps(outputs))

    def _steps(self, outputs: Tensor) -> list[tuple[Tensor, Tensor, bool]]:
        steps: list[tuple[Tensor, Tensor, bool]] = []
        while (step := self._inputs.get(id(steps[-1][1] if steps else outputs))) is not None:
            steps.append(step)
        return steps

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the function, and remember its input if it is increasing."""
        given = kwargs or {}
        first = args[0] if args else given.get("input")
        if not isinstance(first, Tensor) or first.ndim != 2:
            return func(*args, **given)
        if not _increases(func, args, given):
            version = _version(first)
            out = func(*args, **given)
            if _version(first) != version:  # it was written into
                self._inputs.pop(id(first), None)
            return out
        written = func in _IN_PLACE or bool(given.get("inplace"))
        before = first.clone() if written else first
        if written and id(first) in self._inputs:
            self._inputs[id(before)] = (before, *self._inputs[id(first)][1:])
        out = func(*args, **given)
        if isinstance(out, Tensor) and out.shape == first.shape:
            self._inputs[id(out)] = (out, before, func in _FLATTENS)
        return out


def _version(tensor: Tensor) -> int:
    """How often a tensor was written into; tensors of inference mode do not count that."""
    return 0 if tensor.is_inference() else tensor._version


def _increases(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call keeps the order of the classes of each row, except for ties."""
    if func in _SOFTMAX:
        return kwargs.get("dim", args[1] if len(args) > 1 else None) in (1, -1)
    if func in _UNARY or func in _IN_PLACE:
        return all(_is_number(value) for value in (*args[1:], *kwargs.values()))
    if len(args) != 2 or kwargs or not _is_number(args[1]):
        return False
    if func in _SCALES:
        scale = args[1]
        return float(scale.detach() if isinstance(scale, Tensor) else scale) > 0
    return func in _EXTREMES or func in _SHIFTS


def _is_number(value: Any) -> bool:
    """Whether a value is one number, not one for each class; None stands for a default."""
    of_one = isinstance(value, Tensor) and value.ndim <= 1 and value.numel() == 1
    return value is None or of_one or isinstance(value, int | float)
