"""The squeeze: its values, and its declared and true gradients."""

import pytest
import torch
from torch import nn

from tempering.core.backward import adaptive_stages, true_gradient
from tempering.core.errors import ModelError
from tempering.defenses import Squeeze
from tempering.models import strided_cnn

X = torch.tensor([[[[0.0, 0.3, 0.4, 0.5, 0.9]]]])


def gradient(stage: nn.Module) -> list[float]:
    leaf = X.clone().requires_grad_()
    (stage(leaf) * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])).sum().backward()
    assert leaf.grad is not None
    return leaf.grad.flatten().tolist()


def test_the_squeeze_stretches_and_clamps_in_either_backward() -> None:
    expected = torch.tensor([0.0, 0.0, 0.25, 0.5, 1.0])
    assert torch.allclose(Squeeze(0.3, 0.7)(X).flatten(), expected)
    with true_gradient():
        assert torch.allclose(Squeeze(0.3, 0.7)(X).flatten(), expected)


def test_attacks_see_through_the_squeeze() -> None:
    assert gradient(Squeeze(0.35, 0.75)) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_true_gradient_is_zero_where_pixels_saturate() -> None:
    with true_gradient():
        slopes = gradient(Squeeze(0.35, 0.75))
    assert slopes == pytest.approx([0.0, 0.0, 7.5, 10.0, 0.0])


def test_the_squeeze_declares_itself() -> None:
    assert adaptive_stages(strided_cnn()) == ["squeeze"]
    assert adaptive_stages(strided_cnn(squeeze=None)) == []
    assert "low=0.3, high=0.7" in repr(strided_cnn())


@pytest.mark.parametrize(
    ("low", "high"), [(0.7, 0.3), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)]
)
def test_a_squeeze_of_nothing_is_refused(low: float, high: float) -> None:
    with pytest.raises(ModelError, match="give 0 <= low < high <= 1"):
        Squeeze(low, high)
