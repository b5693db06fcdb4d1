"""Filters with channels last, and back."""

import pytest
import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.layout import channels_last, contiguous_again
from tempering.core.probe import probing

X = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()


class Viewing(nn.Module):
    """Flattens by view, which channels-last activations refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(x).view(len(x), -1))
        return out


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 5)
    ).double()


def test_filters_are_turned_within_and_the_very_same_afterwards() -> None:
    model = net()
    before = [(p.data_ptr(), p.stride()) for p in model.parameters()]
    with probing(model) as probe:
        assert model[2].weight.is_contiguous(memory_format=torch.channels_last)
        assert not model[2].weight.is_contiguous()
        probe.logits(X)
    assert [(p.data_ptr(), p.stride()) for p in model.parameters()] == before


def test_activations_follow_even_where_there_is_one_channel() -> None:
    """Filters of one channel are contiguous in both orders: the strides decide."""
    convolution = nn.Conv2d(1, 4, 3)
    with channels_last(convolution):
        out = convolution(torch.rand(2, 1, 8, 8))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_filters_are_put_back_after_an_error() -> None:
    model = net()
    before = model[0].weight.data_ptr()
    with pytest.raises(ZeroDivisionError), probing(model):
        raise ZeroDivisionError
    assert model[0].weight.data_ptr() == before


def test_answers_and_gradients_do_not_change() -> None:
    model = net()
    expected = model(X)
    with probing(model) as probe:
        logits, gradient = probe.gradient(X, lambda out: out[:, 0])
    leaf = X.clone().requires_grad_(True)
    (wanted,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    assert torch.allclose(logits, expected, rtol=1e-12)
    assert torch.allclose(gradient, wanted, rtol=1e-12)


def test_a_model_that_views_its_activations_runs_as_it_was() -> None:
    model = Viewing().double()
    with channels_last(model):
        with pytest.raises(RuntimeError, match="view"):
            model(X)
        assert contiguous_again(model)
        assert not contiguous_again(model)
        model(X)
    with channels_last(model), probing(model) as probe:
        logits, gradient = probe.gradient(X, lambda out: out[:, 0])
    assert torch.equal(logits, model(X))
    assert gradient.shape == X.shape


class ViewingBackward(torch.autograd.Function):
    """The identity, whose backward wants contiguous gradients."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient.view(len(gradient), -1).view(gradient.shape)


def test_a_backward_that_views_runs_as_it_was() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            seen: Tensor = ViewingBackward.apply(self.first(x))
            return self.second(seen).mean((2, 3))

    with probing(Model().double()) as probe:
        logits, gradient = probe.gradient(X, lambda out: out[:, 0])
    assert logits.shape == (6, 4)
    assert bool(gradient.any())


def test_an_error_of_the_model_itself_comes_through() -> None:
    with (
        pytest.raises(ModelError, match=r"on a batch of 6 .*expected input"),
        probing(net()) as probe,
    ):
        probe.logits(X[:, :2])


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_script_whose_weights_are_frozen_runs_as_it_is() -> None:
    """Its weights are constants of the graph: there is no parameter to turn or freeze."""
    model, x = net().float().eval(), X.float()
    script = torch.jit.freeze(torch.jit.trace(model, x))
    assert not list(script.parameters())
    with probing(script) as probe, probing(model) as plain:
        logits, gradient = probe.gradient(x, lambda logits: logits[:, 0])
        expected = plain.gradient(x, lambda logits: logits[:, 0])
    assert torch.allclose(logits, expected[0], atol=1e-5)
    assert torch.allclose(gradient, expected[1], atol=1e-5)


def test_models_that_are_compiled_or_channels_last_already_are_left() -> None:
    already, wrapped, in_place = net().to(memory_format=torch.channels_last), net(), net()
    wrapped._orig_mod = nn.Identity()  # what torch.compile leaves
    in_place.compile(backend="eager")
    for model in (already, wrapped, in_place):
        before = model[0].weight.data_ptr()
        with channels_last(model):
            assert model[0].weight.data_ptr() == before
