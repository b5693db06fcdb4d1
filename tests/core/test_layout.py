"""Filters in channels-last order within a view, and as they were in the model."""

import pytest
import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.layout import undo_channels_last
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


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 5)
    ).double()


def is_channels_last(filters: Tensor) -> bool:
    return filters.is_contiguous(memory_format=torch.channels_last)


def test_the_filters_of_a_view_are_channels_last_and_those_of_the_model_are_not() -> None:
    model = net()
    before = [(p.data_ptr(), p.stride()) for p in model.parameters()]
    with probing(model) as probe:
        filters = probe.model[2].weight  # type: ignore[index]
        assert is_channels_last(filters)
        assert not filters.is_contiguous()
        assert torch.equal(filters, model[2].weight)
        probe.logits(X)
        assert [(p.data_ptr(), p.stride()) for p in model.parameters()] == before


def test_other_parameters_share_memory() -> None:
    model = net()
    with probing(model) as probe:
        assert probe.model[4].weight.data_ptr() == model[4].weight.data_ptr()  # type: ignore[index]
        assert probe.model[0].bias.data_ptr() == model[0].bias.data_ptr()  # type: ignore[index]


def test_activations_follow_even_where_there_is_one_channel() -> None:
    """Filters of one channel are contiguous in both orders: the strides decide."""
    with probing(nn.Conv2d(1, 4, 3)) as probe:
        assert is_channels_last(probe.model(torch.rand(2, 1, 8, 8)))


def in_place(weight: nn.Parameter) -> None:
    with torch.no_grad():
        weight.mul_(2.0)


def through_data(weight: nn.Parameter) -> None:
    weight.data.mul_(2.0)


def one_entry_through_data(weight: nn.Parameter) -> None:
    weight.data[1, 2, 0, 1] = 3.0


def channels_swapped_through_data(weight: nn.Parameter) -> None:
    weight.data.copy_(weight.data.flip(0))


def other_memory(weight: nn.Parameter) -> None:
    weight.data = 3 * weight.data


def optimizer_step(weight: nn.Parameter) -> None:
    weight.square().sum().backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD([weight], 0.1).step()


@pytest.mark.parametrize(
    "change",
    [
        in_place,
        through_data,
        one_entry_through_data,
        channels_swapped_through_data,
        other_memory,
        optimizer_step,
    ],
)
def test_a_view_follows_changes_of_filters(change: object) -> None:
    model = net()
    with probing(model) as probe:
        before = probe.logits(X)
    change(model[0].weight)  # type: ignore[operator]
    with probing(model) as probe:
        after = probe.logits(X)
    with torch.no_grad():
        assert torch.allclose(after, model(X), rtol=1e-12)
    assert not torch.allclose(before, after)


def test_answers_and_gradients_do_not_change() -> None:
    model = net()
    expected = model(X)
    with probing(model) as probe:
        logits, gradient = probe.gradient(X, lambda out: out[:, 0])
    leaf = X.clone().requires_grad_(True)
    (wanted,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    assert torch.allclose(logits, expected, rtol=1e-12)
    assert torch.allclose(gradient, wanted, rtol=1e-12)


def test_a_model_that_views_its_activations_runs_with_contiguous_filters() -> None:
    model = Viewing().double()
    with probing(model) as probe:
        with pytest.raises(RuntimeError, match="view"):
            probe.model(X)
        assert undo_channels_last(probe.model)
        assert not undo_channels_last(probe.model)
        probe.model(X)
    with probing(model) as probe:
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


def test_a_backward_that_views_runs_with_contiguous_filters() -> None:
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


def test_a_view_made_in_inference_mode_gives_gradients_later() -> None:
    model = net()
    with torch.inference_mode(), probing(model) as probe:
        probe.logits(X)
    with probing(model) as probe:
        assert bool(probe.gradient(X, lambda out: out[:, 0])[1].any())


def test_filters_that_are_channels_last_already_are_shared() -> None:
    model = net().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with probing(model) as probe:
        assert probe.model[0].weight.data_ptr() == model[0].weight.data_ptr()  # type: ignore[index]
