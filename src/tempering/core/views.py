"""Views of a model: module objects of their own over the same memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from operator import is_
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tempering.core.errors import ModelError, TemperingError
from tempering.core.layout import FrozenParameter
from tempering.core.references import ATOMS, global_names, refers_to

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOK_FLAGS = (
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)
_PRIVATE = frozenset((*_HOOKS, *_HOOK_FLAGS, "_parameters", "_buffers", "_modules", "training"))
"""Attributes of every module that a view has for itself."""
_SHARED = _PRIVATE | {
    "_non_persistent_buffers_set",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
}
"""Attributes of every module that no forward reads, besides."""
_GLOBALS: WeakKeyDictionary[type[nn.Module], tuple[dict[str, Any], tuple[str, ...]]] = (
    WeakKeyDictionary()
)
"""Class -> the global variables of its forward, and which of them it names."""
_MISSING = object()


class NotViewableError(TemperingError):
    """A model refers to its own modules where a view cannot follow."""


class _Part:
    """A module of a model and its counterpart, and what both were when they were last alike.

    Attributes:
        source: Weak reference to the module.
        view: Its counterpart.
    """

    def __init__(self, module: nn.Module, view: nn.Module) -> None:
        self.source = ref(module)
        self.view = view
        self._keep(module)

    def _keep(self, module: nn.Module) -> None:
        self._theirs = list(module.__dict__.values())
        self._own = self.view.__dict__.copy()
        self._members = _members(module)
        self._buffers = self.view._buffers.copy()

    def fits(self, module: nn.Module) -> bool:
        """Whether nothing but its mode and the values of tensors has changed in the module."""
        values = module.__dict__
        if len(values) != len(self._theirs) or type(module) is not type(self.view):
            return False
        if not all(map(is_, values.values(), self._theirs)):
            others = zip(values.items(), self._theirs, strict=True)
            if any(now is not old for (name, now), old in others if name != "training"):
                return False
            self._theirs = list(values.values())
        members = _members(module)
        return len(members) == len(self._members) and all(map(_same, members, self._members))

    def write_back(self, module: nn.Module, source: Callable[[Any], Any]) -> None:
        """Write to the module what was assigned to attributes of its counterpart since.

        Args:
            module: What `self.source` refers to.
            source: From a module or parameter of a view to what it stands for.
        """
        own, theirs, view = self._own, module.__dict__, self.view.__dict__
        added = [
            (table, name)
            for table in ("_parameters", "_modules")
            for name in view[table].keys() - theirs[table].keys()
        ]
        same = len(view) == len(own) and all(map(is_, view.values(), own.values()))
        same = same and len(view["_buffers"]) == len(self._buffers)
        same = same and all(map(is_, view["_buffers"].values(), self._buffers.values()))
        if same and not added:
            return
        fitted = self.fits(module)
        for name in view.keys() - _PRIVATE:
            if view[name] is not own.get(name, _MISSING):
                _assign(theirs, name, source(view[name]))
        for name in own.keys() - view.keys():
            theirs.pop(name, None)
        for name, buffer in view["_buffers"].items():
            if buffer is not self._buffers.get(name, _MISSING):
                theirs["_buffers"][name] = buffer
        for table, name in added:
            theirs[table][name] = source(view[table][name])
        if fitted and not added:
            self._keep(module)
        else:
            self._members = [_MISSING]  # fits nothing any more


class ModelView:
    """A view of a model, and what is needed to use it again and to write its state back.

    Attributes:
        module: The view, in evaluation mode, without gradients of parameters.
        reusable: Whether `refresh` sees every change of the model.
    """

    def __init__(self, model: nn.Module) -> None:
        """Make a view.

        Raises:
            NotViewableError: If the model refers to its own modules where a view cannot follow.
            ModelError: If a lazy module has no weights yet.
        """
        self.reusable = True
        self._registered = {id(module) for module in model.modules()}
        self._views: dict[int, Any] = {}
        self._sources: dict[int, Any] = {}
        self._parts: list[_Part] = []
        self._parameters: list[FrozenParameter] = []
        self._containers: list[tuple[Any, list[Any]]] = []
        self._searched: list[Any] = []
        self._kinds: set[type[nn.Module]] = set()
        self._open: set[int] = set()
        with _no_inference_mode():
            self.module = self._module(model)
        self._views.clear()  # ids of what may be freed

    def refresh(self) -> bool:
        """Follow changes of parameters; whether nothing else has changed.

        Raises:
            NotViewableError: If the model now refers to its modules where a view cannot follow.
        """
        for part in self._parts:
            module = part.source()
            if module is None or not part.fits(module):
                return False
            part.view.__dict__["training"] = False
        for container, items in self._containers:
            now = _elements(container)
            if len(now) != len(items) or not all(map(is_, now, items)):
                return False
        for kind in self._kinds:
            self._require_foreign_globals(kind)
        for value in self._searched:
            self._search(value)
        with _no_inference_mode():
            for frozen in self._parameters:
                source = frozen.source()
                if source is None:
                    return False
                frozen.refresh(source)
        return True

    def write_back(self) -> None:
        """Write to the model what its forward has assigned to attributes and buffers."""
        for part in self._parts:
            module = part.source()
            if module is not None:
                part.write_back(module, self._source)

    def _source(self, value: Any) -> Any:
        """What a view's module or parameter stands for; other values themselves."""
        source = self._sources.get(id(value))
        return value if source is None else source()

    def _module(self, module: nn.Module) -> nn.Module:
        known: nn.Module | None = self._views.get(id(module))
        if known is not None:
            return known
        self._require_viewable(module)
        view: nn.Module = object.__new__(type(module))
        self._views[id(module)], self._sources[id(view)] = view, ref(module)
        values = view.__dict__
        values.update(module.__dict__)
        if id(module) in self._registered:
            values["training"] = False
        else:
            self.reusable = False
        for name in _HOOK_FLAGS:
            values[name] = OrderedDict(values[name])
        for name in _HOOKS:
            hooks = OrderedDict(values[name])
            values[name] = OrderedDict(zip(hooks, map(self._value, hooks.values()), strict=True))
        values["_buffers"] = module._buffers.copy()
        values["_parameters"] = {
            name: None if parameter is None else self._parameter(parameter)
            for name, parameter in module._parameters.items()
        }
        values["_modules"] = {
            name: None if child is None else self._module(child)
            for name, child in module._modules.items()
        }
        for name, value in module.__dict__.items():
            if type(value) not in ATOMS and name not in _SHARED:
                values[name] = self._value(value)
        self._parts.append(_Part(module, view))
        return view

    def _require_viewable(self, module: nn.Module) -> None:
        kind = type(module)
        if (
            isinstance(module, torch.jit.ScriptModule)
            or "_orig_mod" in module._modules
            or module.__dict__.get("_compiled_call_impl") is not None
        ):
            raise NotViewableError
        if any(is_lazy(p) for p in module._parameters.values() if p is not None):
            raise ModelError(
                f"the model's {kind.__name__} is lazy and has no weights yet: "
                "run the model once on images before"
            )
        if kind not in _GLOBALS:
            if any(base.__dict__.get("__slots__") for base in kind.__mro__):
                raise NotViewableError
            theirs = kind.__module__.startswith("torch.")
            names = () if theirs else global_names(kind.forward)
            _GLOBALS[kind] = (getattr(kind.forward, "__globals__", {}), names)
        if _GLOBALS[kind][1]:
            self._kinds.add(kind)
            self._require_foreign_globals(kind)

    def _require_foreign_globals(self, kind: type[nn.Module]) -> None:
        space, names = _GLOBALS[kind]
        for name in names:
            value = space.get(name)
            if isinstance(value, nn.Module) and self._is_ours(value):
                raise NotViewableError

    def _parameter(self, parameter: nn.Parameter) -> Any:
        known = self._views.get(id(parameter))
        if known is None:
            frozen = FrozenParameter(parameter)
            known = self._views[id(parameter)] = frozen.parameter
            self._sources[id(known)] = frozen.source
            self._parameters.append(frozen)
        return known

    def _value(self, value: Any) -> Any:
        """A value that refers to views where this one refers to modules; itself if to none."""
        kind = type(value)
        if kind in ATOMS or isinstance(value, type):
            return value
        counterpart = self._counterpart(value, kind)
        if counterpart is not value:
            self.reusable = False
        return counterpart

    def _counterpart(self, value: Any, kind: type) -> Any:
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, nn.Parameter):
            return self._parameter(value)
        if kind in (list, tuple, set, frozenset):
            items = self._changed(value)
            return value if items is None else kind(items)
        if kind in (dict, OrderedDict):
            items = self._changed(value)
            return value if items is None else kind(zip(value, items, strict=True))
        if issubclass(kind, tuple) and hasattr(kind, "_make"):
            items = self._changed(value)
            return value if items is None else kind._make(items)
        if kind is MethodType and isinstance(value.__self__, nn.Module):
            self._search(value.__func__)
            return MethodType(value.__func__, self._module(value.__self__))
        if kind is partial:
            parts = [value.func, value.args, value.keywords]
            function, args, keywords = items = [self._value(part) for part in parts]
            same = all(map(is_, items, parts))
            return value if same else partial(function, *args, **keywords)
        if kind is ref and id(target := value()) in self._registered:
            return ref(self._module(target))
        self._search(value)
        self._searched.append(value)
        return value

    def _changed(self, container: Any) -> list[Any] | None:
        """Counterparts of a container's elements; None if they are the elements themselves."""
        elements = _elements(container)
        if type(container) is not tuple:
            self._containers.append((container, elements))
        if ATOMS.issuperset(map(type, elements)) or id(container) in self._open:
            return None
        self._open.add(id(container))
        items = [self._value(element) for element in elements]
        self._open.discard(id(container))
        return None if all(map(is_, items, elements)) else items

    def _search(self, value: Any) -> None:
        if refers_to(value, self._is_ours):
            raise NotViewableError

    def _is_ours(self, module: nn.Module) -> bool:
        """Whether a module is one of the model's, or has one of them as a part."""
        return any(id(part) in self._registered for part in module.modules())


def _members(module: nn.Module) -> list[Any]:
    """Names and values of parameters, buffers and submodules, and hooks."""
    values = module.__dict__
    members: list[Any] = []
    for name in ("_parameters", "_modules", "_buffers", *_HOOKS):
        if values[name]:
            members += values[name]
            members += values[name].values()
    return members


def _same(value: Any, other: Any) -> bool:
    return value is other or (isinstance(value, str) and value == other)


def _no_inference_mode() -> AbstractContextManager[object]:
    """Outside of inference mode, whose tensors cannot be used in a later backward pass."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


def _elements(container: Any) -> list[Any]:
    return list(container.values() if isinstance(container, dict) else container)


def _assign(values: dict[str, Any], name: str, value: Any) -> None:
    """Assign, unless to what a hook computes from parameters: it will be computed again."""
    old = values.get(name)
    if getattr(old, "grad_fn", None) is None:
        values[name] = value
