"""Which transforms stand at a model's input, and which images have the outputs that one wants."""

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from tempering.core.input_stages import InputStages
from tempering.core.probe import probing
from tempering.core.protocols import Detector, Transform
from tempering.core.random import RandomStreams
from tempering.defenses import (
    BitDepth,
    MedianFilter,
    Pipeline,
    Squeeze,
    Threshold,
)

SHAPE = (1, 2, 3)


class Flipped(Transform):
    """Declares what is false: each pixel goes elsewhere."""

    monotone = True

    def transform(self, x: Tensor) -> Tensor:
        return x.flip(-1)


class Bright(Detector):
    """Sees the image itself."""

    def score(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1)


class Beside(nn.Module):
    """A network behind a stage, and one that sees the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stage, self.behind, self.beside = Threshold(0.5), net(), net()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 0.2 * self.behind(self.stage(x)) + self.beside(x)
        return logits


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).eval()


def images(n: int = 40) -> Tensor:
    return RandomStreams.of(3, n).uniform(SHAPE).float()


def names(model: nn.Module) -> list[str]:
    with probing(model) as probe:
        return [type(stage).__name__ for stage in InputStages.of(probe, images()).stages]


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ([Squeeze(0.2, 0.8), Threshold(0.5)], ["Squeeze", "Threshold"]),
        ([BitDepth(2), MedianFilter(3), Threshold(0.5)], ["BitDepth"]),
        ([MedianFilter(3), Threshold(0.5)], []),
        ([Flipped(), Threshold(0.5)], []),
        ([], []),
    ],
)
def test_leading_monotone_transforms_count(
    transforms: Sequence[Transform], expected: list[str]
) -> None:
    assert names(Pipeline(net(), transforms, classes=3)) == expected
    assert names(nn.Sequential(*transforms, net())) == expected


def test_a_stage_used_twice_or_beside_a_detector_does_not() -> None:
    stage = Threshold(0.5)
    assert names(nn.Sequential(stage, stage, net())) == []
    seen = Pipeline(net(), [Threshold(0.5)], Bright(0.3), classes=3)
    assert names(seen) == []


def test_binary_images_do_not_hide_what_the_model_sees_beside_a_stage() -> None:
    """Behind a threshold a binary image is as it was."""
    binary = images().round()
    with probing(Beside()) as probe:
        assert InputStages.of(probe, binary).stages == ()
        assert InputStages.of(probe, images()).stages == ()
        found = InputStages.of(probe, binary)
        assert torch.equal(found(images()), images())


@pytest.mark.parametrize(
    "transforms",
    [
        [Threshold(0.5)],
        [BitDepth(2)],
        [Squeeze(0.3, 0.7)],
        [Squeeze(0.2, 0.8), BitDepth(2)],
        [BitDepth(3), Threshold(0.45)],
        [],
    ],
)
def test_the_nearest_attainable_output_is_found(transforms: Sequence[Transform]) -> None:
    x = images()
    low, high = (x - 0.3).clamp(0, 1), (x + 0.3).clamp(0, 1)
    with probing(nn.Sequential(*transforms, net())) as probe:
        front = InputStages.of(probe, x)
    assert front.two_valued == any(isinstance(part, Threshold) for part in transforms)
    share = RandomStreams.of(4, len(x)).uniform(SHAPE).float()
    z = torch.lerp(front(low), front(high), share)
    made = front.nearest(z, low, high)
    assert bool(((made >= low) & (made <= high)).all())
    grid = torch.stack([torch.lerp(low, high, at) for at in torch.linspace(0, 1, 401)])
    best = (front(grid.flatten(0, 1)).unflatten(0, grid.shape[:2]) - z).abs().amin(0)
    assert bool(((front(made) - z).abs() <= best + 2e-3).all())


def test_skipped_stages_pass_what_they_are_given() -> None:
    model = nn.Sequential(Threshold(0.5), net())
    z = torch.tensor(list(product((0.0, 0.25), repeat=6))).reshape(-1, *SHAPE)
    with probing(model) as probe:
        front = InputStages.of(probe, z)
        with front.skipped():
            inside = probe.logits(z)
        assert torch.equal(probe.logits(z), model(z))
    assert torch.allclose(inside, model[1](z))
