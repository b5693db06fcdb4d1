"""Registries and lazy exports."""

import pytest

from tempering.core.errors import UnknownNameError
from tempering.core.lazy import lazy_exports
from tempering.core.registry import Registry


def test_a_registry_keeps_order_and_refuses_doubles() -> None:
    registry: Registry[int] = Registry("number")
    assert registry.register("two")(2) == 2
    registry.register("one")(1)
    assert dict(registry) == {"two": 2, "one": 1}
    assert "two" in registry
    assert "three" not in registry
    with pytest.raises(ValueError, match="number 'two' is registered twice"):
        registry.register("two")(3)
    with pytest.raises(UnknownNameError, match="unknown number 'tow': did you mean two"):
        registry["tow"]


def test_exports_are_found_when_they_are_asked_for() -> None:
    get, names, exported = lazy_exports(
        "room", {"wilson": "tempering.core.intervals", "passes": "tempering.core.passes"}
    )
    from tempering.core import intervals, passes

    assert get("wilson") is intervals.wilson
    assert get("passes") is passes
    assert names() == exported == ["passes", "wilson"]
    with pytest.raises(AttributeError, match="module 'room' has no attribute 'wilsom'"):
        get("wilsom")
