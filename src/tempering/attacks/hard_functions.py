"""Gradients for functions that have none: comparisons, rounding, and casts to integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_SHADOW = "_tempering_shadow"
"""Attribute of a boolean or integer tensor: the differentiable tensor that it was computed from."""


def _named(*names: str) -> frozenset[Any]:
    """Functions and methods of these names, in place and not."""
    every = [form for name in names for form in (name, f"{name}_", f"__{name}__")]
    owners = (torch, Tensor)
    return frozenset(getattr(o, name) for o in owners for name in every if hasattr(o, name))


_STEPS = _named("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside")
_IN_PLACE = {
    getattr(Tensor, f"{name}_"): getattr(torch, name)
    for name in ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside")
}
_REST = _named("remainder", "fmod", "frac", "mod")
_QUOTIENTS = _named("floor_divide", "floordiv")
_ABOVE = _named("gt", "ge", "greater", "greater_equal")
_BELOW = _named("lt", "le", "less", "less_equal")
_CASTS = _named("int", "long", "short", "char", "byte", "bool", "to", "type")
_NOT = _named("logical_not", "bitwise_not", "invert")
_AND = _named("logical_and", "bitwise_and", "and")
_OR = _named("logical_or", "bitwise_or", "or")
_TO_NUMBER = _named("float", "double", "half", "bfloat16", "to", "type", "type_as")
_WHERE = _named("where")
_FILL = _named("masked_fill")


class HardFunctions(TorchFunctionMode):
    """Within it, functions without a gradient get a straight-through one, wherever called.

    Forward values do not change. Rounding has the gradient of the identity, floor division
    that of division, and a remainder none. A comparison has the gradient of the difference of
    its sides, once it is cast to a number or selects between two tensors. `not`, `and` and
    `or` have that of the operand that decides (Bengio, Léonard and Courville, 'Estimating or
    propagating gradients through stochastic neurons', 2013, the straight-through estimator).

    Example:
        >>> x = torch.tensor([0.2, 0.9], requires_grad=True)
        >>> with HardFunctions():
        ...     y = 1 - (x > 0.5).float()
        >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
        ([1.0, 0.0], [-1.0, -1.0])
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the function, and give its result a gradient or a differentiable shadow."""
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or not _carries((args, tuple(kwargs.values()))):
            return func(*args, **kwargs)
        if func in _IN_PLACE:
            result = self.__torch_function__(_IN_PLACE[func], types, args, kwargs)
            return args[0].copy_(result)
        out = func(*args, **kwargs)
        return _passed(func, args, kwargs, out) if isinstance(out, Tensor) else out


def _carries(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_carries, value))
    return isinstance(value, Tensor) and (value.requires_grad or hasattr(value, _SHADOW))


def _shadows(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_shadows, value))
    return hasattr(value, _SHADOW)


def _passed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Tensor:
    """The result of a call, with the replaced gradient."""
    first = args[0] if args else None
    if func in _REST:
        return out.detach()
    if func in _STEPS:
        return _straight(out, _number(first))
    if func in _QUOTIENTS:
        return _straight(out, _number(args[0]) / _number(args[1]))
    if func in _ABOVE and len(args) == 2:
        return _shadowed(out, _number(args[0]) - _number(args[1]))
    if func in _BELOW and len(args) == 2:
        return _shadowed(out, _number(args[1]) - _number(args[0]))
    if func in _NOT and hasattr(first, _SHADOW):
        return _shadowed(out, -getattr(first, _SHADOW))
    if func in _AND or func in _OR:
        return _shadowed(out, _either(args, torch.minimum if func in _AND else torch.maximum))
    if func in _CASTS and isinstance(first, Tensor) and not out.is_floating_point():
        return _shadowed(out, getattr(first, _SHADOW, first))
    if not _shadows(args):
        return out
    if func in _TO_NUMBER and out.is_floating_point():
        return _straight(out, getattr(first, _SHADOW, None))
    if func in _WHERE and len(args) == 3:
        mask, yes, no = (args[1], args[0], args[2]) if hasattr(args[1], _SHADOW) else args
        return _chosen(out, mask, yes, no)
    if func in _FILL and len(args) == 3:
        return _chosen(out, args[1], args[2], first)
    try:
        return _straight(out, func(*_number(args), **kwargs))
    except (RuntimeError, TypeError, IndexError):  # it takes no floats: the gradient ends here
        return out


def _number(value: Any) -> Any:
    """The value, with boolean and integer tensors replaced by differentiable ones."""
    if isinstance(value, tuple | list):
        return type(value)(map(_number, value))
    shadow = getattr(value, _SHADOW, None)
    return value if shadow is None else _straight(value.to(shadow.dtype), shadow)


def _straight(out: Tensor, given: Any) -> Tensor:
    """The value of out, with the gradient of given."""
    if not isinstance(given, Tensor) or not given.requires_grad or given.shape != out.shape:
        return out
    if not out.is_floating_point():
        return _shadowed(out, given)
    return out.detach() + (given - given.detach()).to(out.dtype)


def _shadowed(out: Tensor, shadow: Any) -> Tensor:
    if isinstance(shadow, Tensor) and shadow.requires_grad and shadow.shape == out.shape:
        setattr(out, _SHADOW, shadow)
    return out


def _either(args: tuple[Any, ...], pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor | None:
    """The margin of two booleans, each above 0 where the boolean is true."""
    margins = [getattr(value, _SHADOW) for value in args if hasattr(value, _SHADOW)]
    return pick(margins[0], margins[1]) if len(margins) == 2 else margins[0] if margins else None


def _chosen(out: Tensor, mask: Any, yes: Any, no: Any) -> Tensor:
    """A selection, with the gradient of a mixture of its two branches."""
    if not hasattr(mask, _SHADOW) or not out.is_floating_point():
        return out
    share = _number(mask)
    mixed = (yes - no) * (share - share.detach())
    return out + mixed if mixed.shape == out.shape else out
