"""The levels of a staircase at a model's input, to the last bit."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from tempering.core.input_levels import InputLevels
from tempering.core.input_stages import InputStages
from tempering.core.probe import probing
from tempering.core.protocols import Transform
from tempering.core.random import RandomStreams
from tempering.defenses import BitDepth, Squeeze, Threshold

SHAPE = (2, 2, 3)


def images(n: int = 20) -> Tensor:
    return RandomStreams.of(3, n).uniform(SHAPE).float()


def front_of(transforms: Sequence[Transform], x: Tensor) -> InputStages:
    with probing(nn.Sequential(*transforms, nn.Flatten(), nn.Linear(12, 2))) as probe:
        return InputStages.of(probe, x)


@pytest.mark.parametrize(
    ("transforms", "levels"),
    [
        ([Threshold(0.5)], 2),
        ([Threshold([[0.3, 0.6]])], 3),
        ([Threshold([0.2, 0.7])], 2),
        ([BitDepth(3)], 8),
        ([Squeeze(0.2, 0.8), BitDepth(2)], 4),
        ([BitDepth(3), Threshold(0.45)], 2),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_nearest_input_with_each_output_is_found(
    transforms: Sequence[Transform], levels: int, dtype: torch.dtype
) -> None:
    x = images().to(dtype)
    front = front_of(transforms, x)
    found = InputLevels.of(front, x, 16)
    assert found is not None
    assert len(found.outputs) == levels
    near = found.images(x)
    grid = torch.stack([torch.full_like(x, at) for at in torch.linspace(0, 1, 101).tolist()])
    seen = front(grid.flatten(0, 1)).unflatten(0, grid.shape[:2])
    for level in range(levels):
        wanted = found.outputs[level].expand_as(x)
        assert torch.equal(front(near[:, level]), wanted)
        apart = (grid - x).abs().masked_fill(seen != wanted, torch.inf).amin(0)
        assert bool(((near[:, level] - x).abs() <= apart).all())
    assert bool((near == x[:, None]).any(1).all())


def test_pixels_may_differ_in_their_levels() -> None:
    class Half(Transform):
        """Rounds the first channel to one bit, and the second to two."""

        monotone = stepwise = True

        def transform(self, x: Tensor) -> Tensor:
            steps = x.new_tensor([1.0, 3.0])[:, None, None]
            return (x * steps).round() / steps

    x = images()
    found = InputLevels.of(front_of([Half()], x), x, 4)
    assert found is not None
    assert found.low.isfinite().sum((0, 2, 3)).tolist() == [2 * 6, 4 * 6]
    assert bool(found.images(x)[:, 2:, 0].isinf().all())


def test_a_function_of_more_levels_has_none() -> None:
    x = images()
    assert InputLevels.of(front_of([Squeeze(0.2, 0.8)], x), x, 16) is None
    assert InputLevels.of(front_of([BitDepth(3)], x), x, 7) is None
