"""Lazy exports of packages (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

EXPORTS: dict[str, Mapping[str, str]] = {}
"""Package -> its exports, of packages that were imported."""


def lazy_exports(
    package: str, exports: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Make `__getattr__`, `__dir__` and `__all__` of a package that imports on first use.

    Args:
        package: The package's `__name__`.
        exports: Exported name -> module that defines it; a name that equals the
            last part of its module exports the module itself.

    Returns:
        `__getattr__`, `__dir__` and `__all__` for the package.

    Example:
        `__getattr__, __dir__, __all__ = lazy_exports(__name__, {"Linf": "tempering.core.threats"})`
    """
    EXPORTS[package] = exports

    def get(name: str) -> object:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(exports[name])
        if exports[name].rpartition(".")[2] == name and not hasattr(module, name):
            return module
        return getattr(module, name)

    def names() -> list[str]:
        return sorted(exports)

    return get, names, sorted(exports)
