"""Whether a forward pass is a fixed function: it writes no state and draws no random numbers."""

from __future__ import annotations

import random
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from types import CellType, FunctionType, GeneratorType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tempering.certification.called_functions import (
    called_methods,
    code_names,
    is_users,
    is_users_file,
    users_functions,
)
from tempering.core.global_settings import torch_settings_kept
from tempering.core.references import ATOMS

_CONSTANT = "_tensor_constant"
"""Start of the names under which torch.fx keeps constants in the model that it traces."""

_LOCK = RLock()
"""Held while the global generators are in another state."""


@dataclass(frozen=True, eq=False)
class _Holder:
    """A container, the attributes of an object or class, or some global variables.

    Attributes:
        owner: The module in which it was found.
        target: The container, or the dictionary of variables; a class itself.
        names: The global variables; None for all entries.
        content: A shallow copy.
    """

    owner: nn.Module
    target: Any
    names: tuple[str, ...] | None
    content: Any

    def now(self) -> Any:
        return _content(self.target, self.names)

    def restore(self) -> None:
        if isinstance(self.target, type):
            now = self.now()
            for name in now.keys() - self.content.keys():
                delattr(self.target, name)
            for name, value in self.content.items():
                if now.get(name) is not value:
                    setattr(self.target, name, value)
        elif self.names is not None:
            self.target.update(self.content)
        else:
            self.target.clear()
            add = (
                self.target.extend if isinstance(self.target, list | deque) else self.target.update
            )
            add(self.content)


@dataclass(frozen=True, eq=False)
class _Generator:
    """A generator of random numbers, and its state."""

    owner: nn.Module
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    state: Any

    def moved(self) -> bool:
        return bool(_plain(self.read()) != _plain(self.state))


@dataclass(frozen=True, eq=False)
class _Numbers:
    """An array of NumPy or Python, or a `bytearray`, and its content."""

    owner: nn.Module
    target: Any
    content: bytes

    def changed(self) -> bool:
        return _bytes_of(self.target) != self.content

    def restore(self) -> None:
        if isinstance(self.target, np.ndarray):
            kept = np.frombuffer(self.content, self.target.dtype)
            self.target[...] = kept.reshape(self.target.shape)
        elif isinstance(self.target, array):
            self.target[:] = array(self.target.typecode, self.content)
        else:
            self.target[:] = self.content


@dataclass(frozen=True, eq=False)
class _Cell:
    """A variable of a function around a forward, and its value."""

    owner: nn.Module
    cell: CellType
    content: Any

    def changed(self) -> bool:
        return not _same(self.content, _cell_content(self.cell))

    def restore(self) -> None:
        self.cell.cell_contents = self.content


_WRITES = "its forward pass changes its state"
_ITERATOR_KINDS = ("itertools", "builtins")
"""Modules of iterators that remember nothing but where they are."""


class ForwardState:
    """What a forward pass of a model could write or draw from, as it was.

    Covers attributes, buffers, tensors and containers of its modules, of their classes and of
    objects of user classes that they hold; arrays of NumPy and Python; variables that a forward,
    or a function of the user that it calls, names: global ones and those of functions around it;
    the global generators of Python, NumPy and torch, and generators that modules hold. A module
    that holds an iterator has state that cannot be put back, and counts as changed.

    Example:
        >>> net = nn.Identity()
        >>> state = ForwardState(net, torch.device("cpu"))
        >>> net.calls = 1
        >>> state.change() == (net, "its forward pass changes its state")
        True
        >>> state.restore()
        >>> hasattr(net, "calls")
        False
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._holders: list[_Holder] = []
        self._generators: list[_Generator] = []
        self._versions: list[tuple[nn.Module, Tensor, int]] = []
        self._values: list[_Numbers | _Cell] = []
        self._iterators: list[tuple[nn.Module, Any]] = []
        self._keep_generator(model, random.getstate, random.setstate)
        self._keep_generator(model, np.random.get_state, np.random.set_state)
        for generator in _torch_generators(device):
            self._keep_generator(model, generator.get_state, generator.set_state)
        waiting: list[tuple[nn.Module, Any]] = [(model, model)]
        seen = {id(model)}
        while waiting:
            owner, value = waiting.pop()
            owner = value if isinstance(value, nn.Module) else owner
            for part in self._keep(owner, value):
                if id(part) not in seen and (type(part) not in ATOMS or _is_state(part)):
                    seen.add(id(part))
                    waiting.append((owner, part))

    def change(self) -> tuple[nn.Module, str] | None:
        """The module that has changed and how, in words; None if nothing has."""
        for owner, iterator in self._iterators:
            return owner, f"it holds a {type(iterator).__name__}, which is state"
        for holder in self._holders:
            if not _equal(holder.content, holder.now()):
                return holder.owner, _WRITES
        for value in self._values:
            if value.changed():
                return value.owner, _WRITES
        for owner, tensor, version in self._versions:
            if tensor._version != version:
                return owner, _WRITES
        for generator in self._generators:
            if generator.moved():
                return generator.owner, "its forward pass draws random numbers"
        return None

    def restore(self) -> None:
        """Put back everything but the values of tensors."""
        for holder in self._holders:
            if not _equal(holder.content, holder.now(), constants=True):
                holder.restore()
        for value in self._values:
            if value.changed():
                value.restore()
        for generator in self._generators:
            generator.write(generator.state)

    def _keep(self, owner: nn.Module, value: Any) -> list[Any]:
        """Remember a value; what it holds."""
        if isinstance(value, Tensor):
            if not isinstance(value, nn.Parameter) and not value.is_inference():
                self._versions.append((owner, value, value._version))
            return []
        if isinstance(value, tuple):
            return list(value)
        if isinstance(value, list | dict | set | deque):
            return self._hold(owner, value)
        if isinstance(value, np.ndarray | array | bytearray):
            self._values.append(_Numbers(owner, value, _bytes_of(value)))
            return (
                list(value.flat) if isinstance(value, np.ndarray) and value.dtype.hasobject else []
            )
        if isinstance(value, CellType):
            content = _cell_content(value)
            self._values.append(_Cell(owner, value, content))
            return [part for part in [content] if _may_be_state(part)]
        if isinstance(value, FunctionType) or not is_users(value):
            for function in users_functions(value):
                return self._function(owner, function)
        if _is_iterator(value):
            self._iterators.append((owner, value))
            return []
        if isinstance(value, torch.Generator | np.random.RandomState):
            self._keep_generator(owner, value.get_state, value.set_state)
        elif isinstance(value, np.random.Generator):
            source = value.bit_generator
            self._keep_generator(
                owner, lambda: source.state, lambda state: setattr(source, "state", state)
            )
        elif isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
            self._keep_generator(owner, value.getstate, value.setstate)
        elif isinstance(value, type):
            held = self._hold(owner, value)
            return [part for part in held if isinstance(part, _CONTAINERS) or _is_iterator(part)]
        elif isinstance(value, nn.Module) or (hasattr(value, "__dict__") and is_users(value)):
            kinds = [kind for kind in type(value).__mro__ if is_users(kind)]
            methods = called_methods(type(value)) if kinds else ()
            return [*kinds, vars(value), *methods]
        return []

    def _function(self, owner: nn.Module, function: FunctionType) -> list[Any]:
        """Remember the variables that a function names; what they hold."""
        names = code_names(function.__code__)
        held: list[Any] = [*(function.__closure__ or ()), vars(function)]
        held += function.__defaults__ or ()
        known = tuple(name for name in sorted(names) if name in function.__globals__)
        for part in self._hold(owner, function.__globals__, known):
            if is_users_file(part):
                known = tuple(name for name in sorted(names) if name in vars(part))
                held += self._hold(owner, vars(part), known)
            else:
                held.append(part)
        return [part for part in held if _may_be_state(part)]

    def _hold(
        self, owner: nn.Module, target: Any, names: tuple[str, ...] | None = None
    ) -> list[Any]:
        content = _content(target, names)
        self._holders.append(_Holder(owner, target, names, content))
        return list(content.values() if isinstance(content, dict) else content)

    def _keep_generator(
        self, owner: nn.Module, read: Callable[[], Any], write: Callable[[Any], Any]
    ) -> None:
        self._generators.append(_Generator(owner, read, write, read()))


@contextmanager
def restored(model: nn.Module, device: torch.device) -> Iterator[ForwardState]:
    """Within it, a forward may write state; afterwards attributes and containers are as before.

    So are settings of torch.
    """
    state = ForwardState(model, device)
    try:
        with torch_settings_kept():
            yield state
    finally:
        state.restore()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within it, the global generators are in another state; afterwards they are as before.

    One thread at a time.
    """
    with _LOCK:
        generators = _torch_generators(device)
        python, arrays = random.getstate(), np.random.get_state()
        states = [generator.get_state() for generator in generators]
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            for generator in generators:
                generator.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def _torch_generators(device: torch.device) -> list[torch.Generator]:
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    return generators


_CONTAINERS = (list, dict, set, deque, np.ndarray, array, bytearray)
"""Values whose content a forward may change."""


def _is_state(value: Any) -> bool:
    return isinstance(value, Tensor | torch.Generator) or (
        isinstance(value, type) and is_users(value)
    )


def _may_be_state(value: Any) -> bool:
    """Whether a variable that a function names may be, or lead to, something that changes."""
    if isinstance(value, (*_CONTAINERS, tuple, CellType, Tensor)) or _is_iterator(value):
        return True
    if isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState):
        return True
    if next(users_functions(value), None) is not None or isinstance(value, random.Random):
        return True
    return is_users(value) and not isinstance(value, nn.Module)


def _is_iterator(value: Any) -> bool:
    plain = type(value).__module__ in _ITERATOR_KINDS and isinstance(value, Iterator)
    return plain or isinstance(value, GeneratorType)


def _bytes_of(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytearray) else bytes(value.tobytes())


def _cell_content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _plain(state: Any) -> Any:
    """The state of a generator, comparable with `==`."""
    if isinstance(state, Tensor | np.ndarray):
        return state.tolist()
    if isinstance(state, dict):
        state = tuple(state.items())
    return tuple(map(_plain, state)) if isinstance(state, tuple) else state


def _content(target: Any, names: tuple[str, ...] | None) -> Any:
    if isinstance(target, type):
        return dict(vars(target))
    if names is not None:
        return {name: target[name] for name in names if name in target}
    if isinstance(target, dict):
        return dict(target)
    return set(target) if isinstance(target, set) else list(target)


def _equal(old: Any, now: Any, constants: bool = False) -> bool:
    """Whether two shallow copies hold the same objects, or equal numbers and texts.

    Args:
        old: A copy.
        now: A later copy.
        constants: Whether what torch.fx has added counts.
    """
    if isinstance(old, set):
        return bool(old == now)
    if isinstance(old, dict):
        names = [
            name for name in now if constants or name in old or not str(name).startswith(_CONSTANT)
        ]
        if len(old) != len(names) or not all(map(_same, old, names)):
            return False
        old, now = list(old.values()), [now[name] for name in names]
    return len(old) == len(now) and all(map(_same, old, now))


def _same(old: Any, now: Any) -> bool:
    if old is now:
        return True
    plain = isinstance(old, bool | int | float | str | bytes)
    return plain and type(old) is type(now) and bool(old == now)
