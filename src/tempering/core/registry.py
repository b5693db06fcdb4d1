"""Registries: names that users choose from."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from tempering.core.errors import UnknownNameError

T = TypeVar("T")

_PROVIDERS: dict[str, str] = {}
"""Kind -> module that registers entries of it when it is imported."""


def provided_by(kind: str, module: str) -> None:
    """Say which module registers entries of a kind; it is imported when they are looked up.

    So a room can use entries of rooms above it by name. Only the package's root calls this.
    """
    _PROVIDERS[kind] = module


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping that grows by decoration and knows its near misses.

    Example:
        >>> nets: Registry[type] = Registry("model")
        >>> @nets.register("tiny")
        ... class Tiny: ...
        >>> list(nets)
        ['tiny']
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate an entry with its name."""

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def unregister(self, name: str) -> T:
        """Remove an entry and return it; its name is free again.

        Raises:
            UnknownNameError: If there is none of that name.
        """
        entry = self[name]
        del self._entries[name]
        return entry

    def _all(self) -> dict[str, T]:
        if self.kind in _PROVIDERS:
            importlib.import_module(_PROVIDERS[self.kind])
        return self._entries

    def __getitem__(self, name: str) -> T:
        entries = self._all()
        try:
            return entries[name]
        except KeyError:
            raise UnknownNameError(self.kind, name, entries) from None

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
