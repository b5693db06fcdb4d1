"""The backward pass that a stage declares, for stages whose own gradient misleads attacks.

A hard clamp, a quantiser or a filter has a gradient of zero almost everywhere, so a plain
gradient attack sees nothing and a robustness number measured with it is worthless (Athalye,
Carlini and Wagner, 2018). Such a stage declares what to use instead, in one way, whether it
is a `Transform`, a `Detector` (core/protocols.py) or any other module:

- `input_gradient = "true"`: its own gradient is honest (the default of our base classes);
- `input_gradient = "straight-through"`: the gradient of the identity (Bengio et al., 2013);
- `input_gradient = "approximation"`: the gradient of its method `approximation(x)`, a
  differentiable function with the same output shape (BPDA);
- `input_gradient = "none"`: no gradient at all; for detectors only.

`random = True` beside it says that the stage draws random numbers at each call. Attacks, flags
and training honour the declaration, except within `true_gradient()`, which shows what an attack
that does not know the defence would claim. Certification ignores it: it bounds forward values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError

INPUT_GRADIENTS = ("true", "straight-through", "approximation")
"""What any stage may declare."""

_TRUE_GRADIENT: ContextVar[bool] = ContextVar("true_gradient", default=False)


@contextmanager
def true_gradient() -> Iterator[None]:
    """Within it, every stage has its true gradient, whatever it declares."""
    token = _TRUE_GRADIENT.set(True)
    try:
        yield
    finally:
        _TRUE_GRADIENT.reset(token)


def wants_true_gradient() -> bool:
    """Whether the caller is within `true_gradient()`."""
    return _TRUE_GRADIENT.get()


@dataclass(frozen=True)
class BackwardDeclaration:
    """What a stage says about its gradient.

    Attributes:
        input_gradient: `true`, `straight-through`, `approximation` or `none`.
        random: Whether the stage draws random numbers at each call.
    """

    input_gradient: str
    random: bool


def declared_backward(module: nn.Module) -> BackwardDeclaration | None:
    """Read what one module declares.

    Args:
        module: Any module; its children are not looked at.

    Returns:
        The declaration, or None if the module has no attribute `input_gradient`.

    Raises:
        ModelError: If the declaration contradicts itself or the module.

    Example:
        >>> class Rounding(nn.Module):
        ...     input_gradient = "straight-through"
        >>> declared_backward(Rounding()).input_gradient
        'straight-through'
        >>> declared_backward(nn.ReLU()) is None
        True
    """
    kind = getattr(module, "input_gradient", None)
    if kind is None:
        return None
    name = type(module).__name__
    allowed = getattr(module, "input_gradients", INPUT_GRADIENTS)
    if kind not in allowed:
        raise ModelError(f"{name}: input_gradient = {kind!r}: give one of {', '.join(allowed)}")
    has_approximation = callable(getattr(module, "approximation", None))
    if kind == "approximation" and not has_approximation:
        raise ModelError(
            f"{name}: input_gradient = 'approximation' without a method approximation(x): "
            "define it, differentiable and of the same output shape"
        )
    if kind != "approximation" and has_approximation:
        raise ModelError(
            f"{name}: input_gradient = {kind!r} and a method approximation(x) contradict each "
            "other: give input_gradient = 'approximation', or remove the method"
        )
    random = getattr(module, "random", False)
    if not isinstance(random, bool):
        raise ModelError(f"{name}: random = {random!r}: give True or False")
    return BackwardDeclaration(kind, random)


def with_declared_backward(
    module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """Call a stage's forward function, with the gradient that the stage declares.

    Args:
        module: The stage; it declares `input_gradient`.
        function: Its forward function.
        x: What goes in.

    Returns:
        `function(x)`; within `true_gradient()` with its own gradient.

    Raises:
        ModelError: If the declaration contradicts itself, or shapes do not fit it.
    """
    replaced = not wants_true_gradient() and torch.is_grad_enabled() and _kind(module) != "true"
    with torch.set_grad_enabled(torch.is_grad_enabled() and not replaced):
        out = function(x.clone())  # it may write into what it gets
    return _substituted(module, x, out) if replaced else out


def _kind(module: nn.Module) -> str:
    declaration = declared_backward(module)
    return "true" if declaration is None else declaration.input_gradient


def _substituted(module: nn.Module, x: Tensor, out: Tensor) -> Tensor:
    """The value of `out`, with the gradient that the module declares."""
    kind = _kind(module)
    if kind == "true":
        return out
    if kind == "none":
        return out.detach()
    stand_in: Tensor = module.approximation(x) if kind == "approximation" else x  # type: ignore[operator]
    if stand_in.shape != out.shape:
        raise ModelError(
            f"{type(module).__name__}: input_gradient = {kind!r}, but it returns shape "
            f"{tuple(out.shape)} and its stand-in {tuple(stand_in.shape)}: "
            "give an approximation(x) of the same output shape"
        )
    # what is added is exactly zero
    return out.detach() + (stand_in - stand_in.detach()).to(out.dtype)


def foreign_stages(model: nn.Module) -> list[nn.Module]:
    """Modules that declare another gradient than their own, but do not apply it themselves.

    Our base classes apply their declaration in `forward`; for other modules `declared_hooks`
    does it.

    Raises:
        ModelError: If any declaration in the model contradicts itself or its module.
    """
    stages = []
    for module in model.modules():
        declaration = declared_backward(module)
        if declaration is None or declaration.input_gradient == "true":
            continue
        if not getattr(module, "applies_declared_backward", False):
            stages.append(module)
    return stages


@contextmanager
def declared_hooks(stages: list[nn.Module]) -> Iterator[None]:
    """Within it, gradients pass some stages as they declare; afterwards they are as before."""
    inputs: list[Tensor] = []

    def copy(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ARG001
        """A stage may write into what it gets."""
        inputs.append(given[0])
        return (given[0].clone(), *given[1:])

    def substitute(module: nn.Module, given: tuple[Any, ...], out: Any) -> Any:  # noqa: ARG001
        x = inputs.pop()
        if wants_true_gradient() or not torch.is_grad_enabled():
            return out
        return _substituted(module, x, out)

    with ExitStack() as hooks:
        for stage in stages:
            hooks.callback(stage.register_forward_pre_hook(copy).remove)
            hooks.callback(stage.register_forward_hook(substitute).remove)
        yield


def adaptive_stages(model: nn.Module) -> list[str]:
    """Names of the stages of a model that declare another gradient than their own.

    Raises:
        ModelError: If a declaration contradicts itself.
    """
    return _names(model, lambda declaration: declaration.input_gradient != "true")


def random_stages(model: nn.Module) -> list[str]:
    """Names of the stages of a model that declare that they draw random numbers.

    Raises:
        ModelError: If a declaration contradicts itself.
    """
    return _names(model, lambda declaration: declaration.random)


def _names(model: nn.Module, wanted: Callable[[BackwardDeclaration], bool]) -> list[str]:
    declared = ((name, module, declared_backward(module)) for name, module in model.named_modules())
    return [
        name or type(module).__name__
        for name, module, declaration in declared
        if declaration is not None and wanted(declaration)
    ]
