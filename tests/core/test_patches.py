"""The patch threat: a square, its distance and its projection."""

import pytest
import torch

from tempering.core.errors import ThreatError
from tempering.core.patches import Patch
from tempering.core.random import RandomStreams
from tempering.core.threats import parse_threat


@pytest.mark.parametrize(
    ("eps", "shape", "side"),
    [(0.05, (28, 28), 6), (0.0, (28, 28), 0), (1.0, (28, 28), 28), (0.25, (4, 4), 2),
     (0.001, (28, 28), 0), (0.5, (1, 7), 3), (1.0, (3, 8), 8), (0.5, (2, 8), 4)],
)  # fmt: skip
def test_the_square_is_the_largest_of_its_share(
    eps: float, shape: tuple[int, int], side: int
) -> None:
    height, width = shape
    assert Patch(eps).side(height, width) == side

    def share(length: int) -> float:
        return min(length, height) * min(length, width) / (height * width)

    assert share(side) <= eps + 1e-9
    assert side == max(height, width) or share(side + 1) > eps


def test_distance_is_the_share_of_the_smallest_square() -> None:
    x = torch.zeros(4, 2, 6, 6)
    x_adv = x.clone()
    x_adv[1, 0, 2, 3] = 1
    x_adv[2, 0, 1, 1] = x_adv[2, 1, 3, 2] = 0.5
    x_adv[3, :, 0, 0] = x_adv[3, :, 5, 5] = 1
    distance = Patch(1.0).distance(x_adv, x)
    assert torch.allclose(distance, torch.tensor([0.0, 1 / 36, 9 / 36, 1.0]))
    assert Patch(0.25).contains(x_adv, x).tolist() == [True, True, True, False]


def test_a_bound_patch_contains_only_what_is_in_its_place() -> None:
    x = torch.zeros(2, 1, 6, 6)
    x_adv = x.clone()
    x_adv[0, 0, 2, 3] = x_adv[1, 0, 2, 2] = 1
    assert Patch(0.12, at=(2, 3)).contains(x_adv, x).tolist() == [True, False]


def test_samples_and_projections_are_contained_and_projections_stay() -> None:
    threat, x = Patch(0.2), RandomStreams.of(0, 6).uniform((2, 7, 5))
    for other in (threat.sample(x, RandomStreams.of(1, 6)), threat.project(1 - x, x)):
        assert bool(threat.contains(other, x).all())
        assert bool((other != x).any())
        assert torch.equal(threat.project(other, x), other)


def test_the_projection_is_the_nearest_of_all_squares() -> None:
    threat, delta = Patch(0.2), RandomStreams.of(3, 5).normal((2, 6, 6))
    kept = threat.shrink(delta)
    top, left = torch.tensor(threat.places(6, 6)).unbind(1)
    masks = threat.windows(top, left, 6, 6)
    for row in range(5):
        energies = (delta[row] * masks).square().sum((1, 2, 3))
        assert float(kept[row].square().sum()) == pytest.approx(float(energies.max()), rel=1e-5)


def test_every_place_is_drawn() -> None:
    threat = Patch(0.25)
    masks = threat.random((400, 1, 4, 4), RandomStreams.of(0, 400))
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == len(threat.places(4, 4)) == 9


@pytest.mark.parametrize(
    ("text", "patch"),
    [("patch:0.05", Patch(0.05)), ("patch:1/20@2,3", Patch(0.05, (2, 3))), ("PATCH:0", Patch(0))],
)
def test_patches_are_read_and_written(text: str, patch: Patch) -> None:
    assert parse_threat(text) == patch
    assert parse_threat(str(patch)) == patch


@pytest.mark.parametrize("text", ["patch:", "patch:x", "patch:0.1@2", "patch:1.5", "patch:1/0"])
def test_what_is_no_patch_is_refused(text: str) -> None:
    with pytest.raises(ThreatError, match="patch"):
        parse_threat(text)


def test_the_place_survives_another_size() -> None:
    assert Patch(0.1, at=(1, 2)).with_eps(0.2) == Patch(0.2, at=(1, 2))
    with pytest.raises(ThreatError, match="give a row and a column"):
        Patch(0.1, at=(-1, 0))
