"""A user's own network within an architecture."""

import pytest
from torch import nn

from tempering.core.errors import ModelError
from tempering.models.own_part import own_factory, own_part, with_own_parts

WITHIN = {"options": {"classifier": own_part("my.py:build", (1, 8, 8)), "transforms": [{}]}}


def test_the_factory_is_found_wherever_it_stands() -> None:
    assert own_factory("my.py:build") == "my.py:build"
    assert own_factory(WITHIN) == own_factory({"a": [WITHIN]}) == "my.py:build"
    assert own_factory({"name": "strided_cnn", "options": {"factory": 1, "name": 2}}) is None


def test_parts_are_replaced_by_networks_for_their_images() -> None:
    shapes: list[tuple[int, ...]] = []

    def build(shape: tuple[int, ...]) -> nn.Module:
        shapes.append(shape)
        return nn.Flatten()

    whole = with_own_parts({"a": [WITHIN, 3], "b": None}, build)
    assert isinstance(whole["a"][0]["options"]["classifier"], nn.Flatten)
    assert whole["a"][0]["options"]["transforms"] == [{}]
    assert (whole["a"][1], whole["b"]) == (3, None)
    assert shapes == [(1, 8, 8)]


@pytest.mark.parametrize("shape", [None, [8, 8], [0, 8, 8], [True, 8, 8], "188"])
def test_a_part_without_a_shape_is_refused(shape: object) -> None:
    with pytest.raises(ModelError, match="give channels, height and width"):
        with_own_parts({"a": {"factory": "my.py:build", "shape": shape}}, lambda _: nn.Flatten())
