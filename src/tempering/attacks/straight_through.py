"""Replaces the gradient of stages and saturating functions; forward values do not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tempering.core.errors import AttackError, UsageError
from tempering.core.torch_functions import functions_named, in_place

Approximation = Callable[[Tensor], Tensor]
"""A differentiable function whose gradient replaces that of a stage."""

SOFTMAX = (torch.softmax, Tensor.softmax, nn.functional.softmax)
"""Functions whose gradient is replaced by that of a softmax at a higher temperature."""

_NAMES = (
    "clamp clip clamp_min clamp_max sigmoid tanh erf hardtanh hardsigmoid relu6 softsign "
    "maximum minimum"
)
FUNCTIONS = functions_named(_NAMES)
"""Other functions that keep the shape and have a zero gradient where they saturate."""
_IN_PLACE = functions_named(in_place(_NAMES))


class SaturatingFunctions(TorchFunctionMode):
    """Within it, saturating functions have a straight-through gradient, wherever called."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the function, and replace its gradient by that of the identity."""
        given = args[0] if args else None
        written = func in _IN_PLACE or bool((kwargs or {}).get("inplace"))
        if written and isinstance(given, Tensor) and given.requires_grad and not given.is_leaf:
            with torch._C.DisableTorchFunction():
                before = given.clone()
                values = func(given.detach().clone(), *args[1:], **(kwargs or {}))
                return given.copy_(_straight(before, values))
        out = func(*args, **(kwargs or {}))
        if not isinstance(given, Tensor) or not isinstance(out, Tensor):
            return out
        with torch._C.DisableTorchFunction():
            if func in SOFTMAX:
                dim = (kwargs or {}).get("dim", args[1] if len(args) > 1 else None)
                return out if dim is None else _straight(given, out, unsaturated_softmax(int(dim)))
            if func in FUNCTIONS and not given.requires_grad and len(args) > 1:
                given = args[1]  # maximum(0, x)
                given = given if isinstance(given, Tensor) else out
            alike = func in FUNCTIONS and given.shape == out.shape
            return _straight(given, out) if alike else out


def unsaturated_softmax(dim: int) -> Approximation:
    """A softmax of logits scaled to a standard deviation of 1, so that it does not saturate.

    It replaces a saturated softmax: the gradient of the identity would treat all classes alike.
    """

    def stand_in(logits: Tensor) -> Tensor:
        spread = logits.detach().std(dim, keepdim=True, correction=0)
        return torch.softmax(logits / spread.where(spread > 0, torch.ones_like(spread)), dim)

    return stand_in


def _straight(given: Tensor, out: Tensor, approximation: Approximation | None = None) -> Tensor:
    """The value of out, with the gradient of given or of its approximation."""
    if not given.requires_grad:
        return out
    other = given if approximation is None else approximation(given)
    return out.detach() + (other - other.detach()).to(out.dtype)


@contextmanager
def replaced_gradients(
    model: nn.Module, stages: Sequence[str], approximation: Approximation | None
) -> Iterator[None]:
    """Replace the gradient of some stages of a model; hooks are removed afterwards.

    Args:
        model: Its forward results do not change.
        stages: Names of modules, as `named_modules` gives them.
        approximation: Function whose gradient is used for each stage; None for the identity,
            and for `nn.Softmax` a softmax at a higher temperature.

    Raises:
        UsageError: If the model has no such module.
        AttackError: If a stage changes shapes and no approximation is given.
    """
    modules = dict(model.named_modules())

    def stand_in(name: str) -> Approximation | None:
        module = modules[name]
        if approximation is None and isinstance(module, nn.Softmax) and module.dim is not None:
            return unsaturated_softmax(module.dim)
        return approximation

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Any]:
        def passed(_module: nn.Module, given: tuple[Any, ...], out: Any) -> Any:
            if not torch.is_grad_enabled() or not given[0].requires_grad:
                return out
            if approximation is None and given[0].shape != out.shape:
                raise AttackError(
                    f"stage {name!r} makes {tuple(out.shape)} of {tuple(given[0].shape)}: "
                    "give an approximation of it that does"
                )
            return _straight(given[0], out, stand_in(name))

        return passed

    with ExitStack() as hooks:
        for name in stages:
            if name not in modules:
                raise UsageError(
                    f"stage {name!r} of a model with {', '.join(filter(None, modules)) or 'none'}: "
                    "give the name of one of its modules"
                )
            handle = modules[name].register_forward_hook(hook(name))
            hooks.callback(handle.remove)
        yield
