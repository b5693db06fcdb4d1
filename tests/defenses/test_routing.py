"""A bank of transforms behind a discriminator: saved, loaded, and refused where parts misfit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform
from tempering.defenses import BitDepth, Discriminator, MedianFilter, Routed, Thermometer
from tempering.models import build, load, save
from tests.defenses.manifests import manifest_of

SHAPE = (1, 8, 8)


def routed(bank: list[Transform | None], routes: list[int], flags: bool = False) -> Routed:
    net = build("strided_cnn", SHAPE, 3, width=2, hidden=4, squeeze=None, adversarial_class=flags)
    kinds = ("clean", "fgsm", "pgd-7")
    torch.manual_seed(0)
    return Routed(net, Discriminator(kinds, width=2, hidden=4, sizes=SHAPE), bank, routes, 3).eval()


@pytest.mark.parametrize("flags", [False, True])
def test_routes_bank_and_discriminator_are_saved(flags: bool, tmp_path: Path) -> None:
    model = routed([None, MedianFilter(3), BitDepth(2)], [2, 0, 1], flags)
    assert model.adversarial_class == (3 if flags else None)
    x = torch.rand(40, *SHAPE) * torch.rand(40, 1, 1, 1)
    save(model, tmp_path, manifest_of(model, SHAPE))
    again = load(tmp_path).model
    assert isinstance(again, Routed)
    assert again.routes == [2, 0, 1]
    assert again.discriminator.kinds == ("clean", "fgsm", "pgd-7")
    assert torch.equal(again(x), model(x))
    assert model(x).shape == (40, 3 + flags)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ModelError, match="route 2: give a number from 0 to 1"):
        routed([None, MedianFilter(3)], [0, 1, 2])
    with pytest.raises(ModelError, match="2 routes for a discriminator that knows 3 kinds"):
        routed([None, MedianFilter(3)], [0, 1])
    with pytest.raises(ModelError, match="Thermometer makes images of shape"):
        routed([None, Thermometer(4)], [0, 1, 1])
    with pytest.raises(ModelError, match="Linear in a bank: give a transform"):
        routed([torch.nn.Linear(2, 2)], [0, 0, 0])  # type: ignore[list-item]
    with pytest.raises(ModelError, match="Linear for routes: give a Discriminator"):
        Routed(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), [None], [0], 2)  # type: ignore[arg-type]


def test_one_with_parts_of_a_user_has_no_description() -> None:
    model = routed([None, MedianFilter(3)], [0, 1, 1])
    model.classifier = torch.nn.Flatten()
    assert model.architecture == "Routed"
