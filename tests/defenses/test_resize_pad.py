"""Random resizing and padding: against torch's own resizing, and its refusals."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tempering.core.errors import ModelError
from tempering.defenses import Pipeline, ResizePad
from tempering.models import strided_cnn


def drawn(stage: ResizePad, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return stage(x)


@pytest.mark.parametrize(("smallest", "largest"), [(0.6, 1.0), (0.9, 1.5)])
def test_each_image_is_resized_and_placed_within_black(smallest: float, largest: float) -> None:
    x = torch.rand(30, 2, 10, 20) * 0.8 + 0.2
    out = drawn(ResizePad(smallest, largest), x)
    assert out.shape == (30, 2, round(10 * largest), round(20 * largest))
    sizes, places = set(), set()
    for image, padded in zip(x, out, strict=True):
        rows = (padded.sum((0, 2)) > 0).nonzero()[:, 0]
        columns = (padded.sum((0, 1)) > 0).nonzero()[:, 0]
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        size = int(bottom - top), int(right - left)
        expected = F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]
        assert torch.allclose(padded[:, top:bottom, left:right], expected, atol=1e-4)
        assert abs(size[1] - 2 * size[0]) <= 1
        sizes.add(size[0])
        places.add((int(top), int(left)))
    assert sizes == set(range(round(10 * smallest), round(10 * largest) + 1))
    assert len(places) > 5


def test_draws_repeat_by_seed() -> None:
    x = torch.rand(4, 1, 12, 12)
    assert torch.equal(drawn(ResizePad(), x), drawn(ResizePad(), x))
    assert not torch.equal(drawn(ResizePad(), x), drawn(ResizePad(), x, seed=1))


def test_it_knows_the_shape_that_it_makes() -> None:
    stage = ResizePad(1.0, 331 / 299)
    assert stage.shape_after((3, 299, 299)) == (3, 331, 331)
    assert stage.shape_before((3, 331, 331)) == (3, 299, 299)
    assert ResizePad().shape_before((1, 28, 30)) == (1, 28, 30)
    with pytest.raises(ModelError, match="no images are padded to that size"):
        ResizePad(1.0, 2.0).shape_before((1, 7, 7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smallest": 0.0}, "resize_pad smallest 0.0: give a number above 0"),
        ({"smallest": float("nan")}, "resize_pad smallest nan"),
        ({"largest": 5.0}, "resize_pad largest 5.0: .* at most 4"),
        ({"smallest": 1.0}, "smallest 1.0 and largest 1.0: give a smallest share below"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ResizePad(**options)


def test_images_that_have_one_size_only_are_refused() -> None:
    with pytest.raises(ModelError, match=r"resize_pad \(0.9, 1\) on images of 2 x 2 pixels"):
        ResizePad(0.9)(torch.rand(1, 1, 2, 2))


def test_larger_images_need_a_classifier_that_takes_them() -> None:
    net = strided_cnn((1, 12, 12), squeeze=None)
    model = Pipeline(net, [ResizePad(1.0, 1.5)])
    assert isinstance(model.architecture, dict)
    assert model.architecture["shape"] == [1, 8, 8]
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 11)
    own = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ModelError, match=r"fails on shape \(1, 12, 12\), which the transforms"):
        Pipeline(own, [ResizePad(1.0, 1.5)], classes=3)(torch.rand(2, 1, 8, 8))
