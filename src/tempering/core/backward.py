"""The honest backward of stages that hide their gradient.

A hard clamp, a quantiser or a filter has a gradient of zero almost everywhere, so
plain gradient attacks see nothing and a robustness number measured with them is
worthless (Athalye, Carlini and Wagner, 2018). Such a stage calls itself adaptive
(`adaptive_backward = True`) and passes gradients *through* unless it stands inside
`true_gradient()`. Attacks therefore see the weakness by default; the true gradient
has to be asked for, and is used only to show what a naive evaluation would claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_TRUE_GRADIENT: ContextVar[bool] = ContextVar("true_gradient", default=False)


@contextmanager
def true_gradient() -> Iterator[None]:
    """Within it, adaptive stages use their true gradient."""
    token = _TRUE_GRADIENT.set(True)
    try:
        yield
    finally:
        _TRUE_GRADIENT.reset(token)


def wants_true_gradient() -> bool:
    """What an adaptive stage asks in its forward."""
    return _TRUE_GRADIENT.get()


def adaptive_stages(model: nn.Module) -> list[str]:
    """Names of the stages of a model that declare an adaptive backward."""
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if getattr(module, "adaptive_backward", False)
    ]
