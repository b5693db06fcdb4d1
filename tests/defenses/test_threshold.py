"""The hard threshold: its values, its gradient, and the box that it leaves of a threat."""

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from tempering.core.backward import true_gradient
from tempering.core.errors import ModelError, ThreatError
from tempering.core.patches import Patch
from tempering.core.pixel_boxes import pixel_box
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.defenses import BitDepth, MedianFilter, Threshold

X = torch.tensor([[[[0.1, 0.5, 0.50001, 0.9]]]])


def test_pixels_above_the_value_become_one() -> None:
    assert Threshold(0.5)(X).flatten().tolist() == [0.0, 0.0, 1.0, 1.0]
    colours = torch.full((1, 2, 1, 1), 0.5)
    assert Threshold([0.4, 0.6])(colours).flatten().tolist() == [1.0, 0.0]
    assert Threshold([0.4, 0.6]).thresholds((2, 1, 1)).shape == (2, 1, 1)
    with pytest.raises(ModelError, match="2 values on images of 1 channels"):
        Threshold([0.4, 0.6])(X)


def test_gradients_pass_straight_through() -> None:
    x = X.clone().requires_grad_()
    assert torch.equal(torch.autograd.grad(Threshold()(x).sum(), x)[0], torch.ones_like(X))
    with true_gradient():
        assert not Threshold()(x).requires_grad


@pytest.mark.parametrize("at", [0, 1.0, -0.2, 1 - 1e-9, 1e-50, float("nan"), "0.5", [], [0.5, 2.0]])
def test_values_that_are_no_thresholds_are_refused(at: Any) -> None:
    with pytest.raises(ModelError, match="give a number above 0 and below 1"):
        Threshold(at)


@pytest.mark.parametrize(
    "threat",
    [Linf(0.2), L2(0.4), L1(0.7), L0(2), L0(0), Patch(0.2), Patch(0.2, at=(1, 2))],
    ids=str,
)
def test_all_that_a_threat_allows_lies_in_the_box(threat: Threat) -> None:
    x = RandomStreams.of(0, 3).uniform((1, 5, 5)).float()
    low, high = pixel_box(threat, x)
    after = Threshold().box_after(low, high)
    for seed in range(20):
        z = threat.sample(x, RandomStreams.of(seed, 3))
        assert bool(((z >= low - 1e-6) & (z <= high + 1e-6)).all())
        z = Threshold()(z.clamp(low, high))
        assert bool(((z >= after[0]) & (z <= after[1])).all())
    decided = (after[0] == after[1]).float().mean()
    assert (float(decided) > 0.3) == (threat not in (L2(0.4), L1(0.7), L0(2), Patch(0.2)))


def test_what_has_no_box_is_refused() -> None:
    class Own(Linf):
        """A user's own."""

    with pytest.raises(ThreatError, match="has no box"):
        pixel_box(Own(0.1), X)
    with pytest.raises(ModelError, match="MedianFilter does not declare that it is monotone"):
        MedianFilter().box_after(X, X)


def test_of_several_values_the_share_that_is_exceeded_is_the_pixel() -> None:
    stage = Threshold([[0.1, 0.5, 0.7]])
    assert torch.allclose(stage(X), torch.tensor([[[[0.0, 1 / 3, 2 / 3, 1.0]]]]))
    colours = torch.full((1, 2, 1, 1), 0.5)
    assert Threshold([[0.2, 0.4], [0.4, 0.6]])(colours).flatten().tolist() == [1.0, 0.5]
    assert stage.thresholds((1, 1, 4)) is None
    for bits in (1, 2, 3):
        at = [[(k + 0.5) / (2**bits - 1) for k in range(2**bits - 1)]]
        x = RandomStreams.of(1, 4).uniform((1, 5, 5)).float()
        assert torch.allclose(Threshold(at)(x), BitDepth(bits)(x))


@pytest.mark.parametrize(
    "at", [[[0.5, 0.2]], [[0.2, 0.2]], [[]], [[0.2, 0.4], 0.5], [[0.3, 0.3 + 1e-10]]]
)
def test_values_that_do_not_increase_are_refused(at: Any) -> None:
    with pytest.raises(ModelError, match="give values that increase in float32, as many for each"):
        Threshold(at)


def test_values_beside_those_to_be_learned_are_refused() -> None:
    with pytest.raises(ModelError, match=r"threshold learn 2 beside at 0\.4: give one of them"):
        Threshold(0.4, learn=2)


def test_what_is_set_later_is_what_runs_and_is_saved() -> None:
    stage = Threshold(0.3)
    stage.at = 0.8
    assert stage.options == {"at": 0.8, "learn": 0}
    assert stage(X).flatten().tolist() == [0.0, 0.0, 0.0, 1.0]
    with pytest.raises(ModelError, match="give a number above 0 and below 1"):
        stage.at = 1.5


def test_it_prints_its_values() -> None:
    assert repr(Threshold([[0.3, 0.6]])) == "Threshold(at=[[0.3, 0.6]])"
    assert repr(Threshold(learn=2)) == "Threshold(learn=2)"


@pytest.mark.parametrize("count", [1, 2])
def test_learned_values_leave_the_fewest_pixels_undecided(count: int) -> None:
    """Tried against every pair of a coarser grid."""
    x = RandomStreams.of(0, 30).uniform((2, 4, 4)).float()
    x[:, 0] = (x[:, 0] * 5).round() / 5  # 0, 0.2, ..., 1
    low, high = pixel_box(Linf(0.05), x)
    stage = Threshold(learn=count)
    with pytest.raises(ModelError, match=f"threshold with {count} values to be learned is not"):
        stage(x)
    stage.fit(x, low, high)

    def undecided(made: Threshold) -> Tensor:
        """Steps that the box can take, in each channel."""
        least, most = made.box_after(low, high)
        return ((most - least) * count).round().sum((0, 2, 3))

    assert stage.learn == 0
    for values in combinations(torch.arange(0.1, 0.95, 0.05).tolist(), count):
        assert bool((undecided(stage) <= undecided(Threshold([list(values)]))).all())
    assert int(undecided(stage)[0]) == 0


def test_learned_values_leave_something_of_an_image() -> None:
    """A value above all pixels would be stable, and the image black."""
    x = 0.3 + 0.2 * RandomStreams.of(0, 20).uniform((1, 4, 4)).float()
    stage = Threshold(learn=1)
    stage.fit(x, *pixel_box(Linf(0.1), x))
    assert 0.04 < float(stage(x).mean()) < 0.96
    flat = Threshold(learn=2)
    flat.fit(torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.1))
    low, high = flat.at[0]  # type: ignore[index, misc]
    assert 0.1 <= low < high < 1
