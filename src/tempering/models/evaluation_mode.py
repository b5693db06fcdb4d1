"""Models whose own `eval()` leaves modules in training mode."""

from __future__ import annotations

from torch import nn

from tempering.core.errors import ModelError
from tempering.core.module_copies import copied_module
from tempering.core.notes import note
from tempering.core.user_code import set_evaluation_mode

_SHOWN = 3
"""Modules that a note names."""


def note_if_training(model: nn.Module) -> None:
    """Note which modules stay in training mode after the model's own `eval()`.

    All modules are in evaluation mode while a model is judged, whatever its `eval()` does.

    Args:
        model: Any module; it is left as it is. Only one that overrides `train` or `eval` is
            copied.
    """
    if not any(map(_has_own_mode, model.modules())):
        return
    try:
        copy = set_evaluation_mode(copied_module(model))
    except ModelError:
        return
    staying = [(name, module) for name, module in copy.named_modules() if module.training]
    leaves = [name for name, module in staying if not list(module.children())]
    names = leaves or [name or type(module).__name__ for name, module in staying]
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        note(
            f"after eval() the model leaves {', '.join(names[:_SHOWN])}{more} in training mode: "
            "it is judged with all modules in evaluation mode"
        )


def _has_own_mode(module: nn.Module) -> bool:
    kind, own = type(module), vars(module)
    return (
        getattr(kind, "train", None) is not nn.Module.train
        or getattr(kind, "eval", None) is not nn.Module.eval
        or "train" in own
        or "eval" in own
    )
