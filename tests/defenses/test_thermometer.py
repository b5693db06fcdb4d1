"""Thermometer coding: its code, its gradient, the classifier behind it, and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tempering.core.errors import ModelError
from tempering.defenses import Pipeline, Thermometer
from tempering.defenses.build import build_pipeline
from tempering.models import load, save, strided_cnn
from tests.defenses.test_pipeline import manifest

CODE = {"defense": "thermometer", "options": {"levels": 4}}


def test_a_channel_is_one_where_the_pixel_exceeds_its_threshold() -> None:
    x = torch.tensor([[0.0, 0.1], [0.26, 1.0]]).reshape(1, 2, 1, 2)
    code = Thermometer(4)(x).reshape(2, 4, 2)
    assert code[0].T.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert code[1].T.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_attacks_see_a_slope_at_every_threshold_below_the_pixel() -> None:
    x = torch.tensor([0.1, 0.6]).reshape(1, 1, 1, 2).requires_grad_()
    code = Thermometer(4)(x)
    assert set(code.flatten().tolist()) == {0.0, 1.0}
    (gradient,) = torch.autograd.grad(code.sum(), x)
    assert gradient.flatten().tolist() == [1.0, 3.0]


def test_a_pipeline_is_built_and_saved_with_a_classifier_of_all_channels(tmp_path: Path) -> None:
    model = build_pipeline((1, 8, 8), 10, transforms=[CODE]).eval()
    assert isinstance(model.architecture, dict)
    assert model.architecture["shape"] == [1, 8, 8]
    save(model, tmp_path, manifest(model).model_copy(update={"shape": (1, 8, 8)}))
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(load(tmp_path).model(x), model(x))
    net = strided_cnn((8, 8, 8), squeeze=None)
    assert Pipeline(net, [Thermometer(4)])(torch.rand(2, 2, 8, 8)).shape == (2, 11)


def test_a_classifier_of_other_channels_is_refused() -> None:
    with pytest.raises(
        ModelError, match="thermometer with 4 levels before a classifier of 1 channels"
    ):
        Pipeline(strided_cnn((1, 8, 8), squeeze=None), [Thermometer(4)])
    own = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(108, 3))
    with pytest.raises(ModelError, match=r"\(4, 8, 8\), which .* give a classifier that takes 4"):
        Pipeline(own, [Thermometer(4)], classes=3)(torch.rand(2, 1, 8, 8))


@pytest.mark.parametrize("levels", [1, 257, 8.0, True, float("nan")])
def test_levels_that_make_no_sense_are_refused(levels: Any) -> None:
    with pytest.raises(ModelError, match=r"thermometer levels .*: give a whole number from 2 to"):
        Thermometer(levels)


def test_pixels_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match="thermometer on images with values that are not finite"):
        Thermometer()(torch.full((1, 1, 8, 8), float("nan")))
