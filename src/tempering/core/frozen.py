"""A private frozen view of a model: attacks ask the view, and the model stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from threading import RLock

from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from tempering.core.user_code import set_evaluation_mode
from tempering.core.views import ModelView, NotViewableError

_FREE: MutableMapping[nn.Module, list[ModelView]] = WeakIdKeyDictionary()
"""Model -> views of it that nobody uses just now; they go with the model."""
_MAX_FREE = 4
_LOCK = RLock()
"""Held while a model is frozen in place."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """A view of a model in evaluation mode whose parameters take no gradient.

    The view has module objects of its own, so its mode, hooks and parameters are private:
    the model is not changed, and two threads may each have a view of it. Parameters and
    buffers share the memory of the model's, except filters of convolutions on a CPU, which
    are copied in channels-last order (`core/layout.py`). Other attributes are shared too.
    What a forward assigns to an attribute or buffer (a call counter, a memory of earlier
    images) is written to the model at the end. Views are kept for the next call as long as
    the model, and follow its weights.

    Some models cannot be viewed: TorchScript and compiled modules, classes with
    `__slots__`, and models that refer to their own modules from a closure, a global
    variable or an object that is no module (a replaced `forward`, a hook). These are
    frozen in place and put back at the end, under a lock: one thread at a time. They keep
    the memory order of their filters.

    Args:
        model: Any module.

    Yields:
        The view; or the model itself, frozen in place.

    Raises:
        ModelError: If a lazy module has no weights yet.

    Example:
        >>> net = nn.Dropout()
        >>> with frozen(net) as view:
        ...     view.training, net.training
        (False, True)
    """
    free = _FREE.setdefault(model, [])
    try:
        view = _free_view(free) or ModelView(model)
    except NotViewableError:
        with _frozen_in_place(model):
            yield model
        return
    try:
        yield view.module
    finally:
        view.write_back()
        if view.reusable and len(free) < _MAX_FREE:
            free.append(view)


def _free_view(free: list[ModelView]) -> ModelView | None:
    while free:
        try:
            view = free.pop()
        except IndexError:  # another thread took it
            return None
        if view.refresh():
            return view
    return None


@contextmanager
def _frozen_in_place(model: nn.Module) -> Iterator[None]:
    with _LOCK:
        modules = [module for module in model.modules() if getattr(module, "training", False)]
        parameters = [p for p in model.parameters() if p.requires_grad and p.is_leaf]
        try:
            if modules:
                set_evaluation_mode(model)
            for parameter in parameters:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)
            for module in modules:
                module.training = True
