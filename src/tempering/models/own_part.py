"""A user's own network within a network of ours, in the architecture of a manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from tempering.core.errors import ModelError

FACTORY = "factory"
"""Key of a part that a user's factory builds."""


def own_part(factory: str, shape: Sequence[int]) -> dict[str, Any]:
    """What stands in an architecture for a network that a user's factory builds.

    Args:
        factory: `file.py:factory`, or the name of a class from Python.
        shape: Channels, height and width of the images that it takes.

    Example:
        >>> own_part("my.py:build", (1, 8, 8))
        {'factory': 'my.py:build', 'shape': [1, 8, 8]}
    """
    return {FACTORY: factory, "shape": list(shape)}


def own_factory(architecture: Any) -> str | None:
    """The factory of a user that an architecture names; None if all parts are ours.

    Example:
        >>> own_factory("my.py:build"), own_factory({"options": {}})
        ('my.py:build', None)
    """
    if isinstance(architecture, str):
        return architecture
    return next((str(part[FACTORY]) for part in _own_parts(architecture)), None)


def with_own_parts(
    architecture: dict[str, Any], build: Callable[[tuple[int, ...]], nn.Module]
) -> dict[str, Any]:
    """An architecture with modules in place of its user's own parts.

    Args:
        architecture: Of a manifest.
        build: From the shape of images to the network.

    Raises:
        ModelError: If a part does not say which images it takes.
    """

    def filled(value: Any) -> Any:
        if _is_own(value):
            return build(_shape(value.get("shape")))
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return [filled(inner) for inner in value] if isinstance(value, list) else value

    whole: dict[str, Any] = filled(architecture)
    return whole


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) != 3 or not all(_is_side(n) for n in shape):
        raise ModelError(
            f"the manifest names a network of your own for images of shape {shape!r}: "
            "give channels, height and width"
        )
    return tuple(shape)


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_own(value: Any) -> bool:
    return isinstance(value, dict) and FACTORY in value and set(value) <= {FACTORY, "shape"}


def _own_parts(value: Any) -> list[dict[str, Any]]:
    if _is_own(value):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [part for one in inner for part in _own_parts(one)]
