"""Probabilities as logits: the same answers, and the gradient that a softmax hides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.probe import probing
from tempering.models.logits import LogProbabilities, WithoutSoftmax, as_logits_model

X = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Share(nn.Module):
    """A softmax by hand: no function of torch tells what it was given."""

    def forward(self, logits: Tensor) -> Tensor:
        parts = (logits - logits.amax(1, keepdim=True)).exp()
        return parts / parts.sum(1, keepdim=True)


def net(scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    linear = nn.Linear(16, 4)
    linear.weight.data.mul_(scale)
    return nn.Sequential(nn.Flatten(), linear)


def margin(logits: Tensor) -> Tensor:
    top = logits.topk(2, 1).values
    return top[:, 0] - top[:, 1]


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.Softmax(-1), Share()])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_differences_and_their_gradients_are_those_of_the_logits(
    end: nn.Module, scale: float
) -> None:
    logits = net(scale)
    model = LogProbabilities(nn.Sequential(logits, end))
    with probing(model) as probe, probing(logits) as plain:
        gradient, slope = probe.gradient(X, margin)
        expected, steep = plain.gradient(X, margin)
    assert torch.allclose(margin(gradient), margin(expected), rtol=1e-4, atol=1e-4)
    assert torch.equal(gradient.argmax(1), expected.argmax(1))
    assert torch.allclose(slope, steep, rtol=1e-3, atol=1e-4 * scale)


def test_a_softmax_that_is_the_last_step_hides_nothing_however_sure_it_is() -> None:
    logits = net(1e4)
    for end in (nn.Softmax(1), nn.Softmax(-1)):
        model = LogProbabilities(nn.Sequential(logits, end))
        assert torch.equal(model(X), logits(X))
    hidden = LogProbabilities(nn.Sequential(logits, Share()))
    with probing(hidden) as probe:
        _, slope = probe.gradient(X, margin)
    assert bool(slope.isfinite().all())


def test_a_softmax_within_is_left_alone() -> None:
    inner = nn.Sequential(net(), nn.Softmax(1), nn.Linear(4, 4))
    assert as_logits_model(inner, X) is inner
    outer = nn.Sequential(inner, Share())
    assert torch.allclose(margin(LogProbabilities(outer)(X)), margin(inner(X)), atol=1e-5)


def test_no_two_probabilities_that_differ_become_equal() -> None:
    steps = torch.tensor([[0.3, 0.3, 0.4], [0.7, 0.2, 0.1], [0.34, 0.33, 0.33]])
    above = torch.nextafter(steps, torch.ones(()))

    class Given(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    for column in range(3):
        pairs = steps.clone()
        pairs[:, (column + 1) % 3] = above[:, column]
        pairs[:, column] = steps[:, column]
        pairs[:, (column + 2) % 3] = 0
        said = LogProbabilities(Given())(pairs.reshape(3, 1, 1, 3))
        assert torch.equal(said.argmax(1), pairs.argmax(1))
        assert bool((said[:, (column + 1) % 3] > said[:, column]).all())


def test_the_model_is_shared_and_its_mode_and_flag_are_kept() -> None:
    inner = nn.Sequential(net(), Share()).train()
    inner.adversarial_class = 3  # type: ignore[assignment]
    model = as_logits_model(inner, X)
    assert isinstance(model, LogProbabilities)
    assert model.model is inner
    assert inner.training
    assert model.training
    assert model.adversarial_class == 3


@pytest.mark.parametrize("dim", [1, -1])
def test_a_softmax_after_layers_in_a_row_is_left_out(dim: int) -> None:
    whole = nn.Sequential(net(), nn.Softmax(dim)).train()
    whole.adversarial_class = 3  # type: ignore[assignment]
    model = as_logits_model(whole, X)
    assert isinstance(model, WithoutSoftmax)
    assert model.model is whole
    assert list(model) == [whole[0]]
    assert torch.equal(model(X), whole[0](X))
    assert model.training
    assert model.adversarial_class == 3


def test_a_softmax_with_something_around_it_is_not() -> None:
    hooked = nn.Sequential(net(), nn.Softmax(1))
    hooked[1].register_forward_hook(lambda _module, _given, out: out.roll(1, 1))
    assert isinstance(as_logits_model(hooked, X), LogProbabilities)
    assert torch.equal(as_logits_model(hooked, X)(X).argmax(1), hooked(X).argmax(1))


def test_what_is_no_row_of_probabilities_is_named() -> None:
    with pytest.raises(ModelError, match=r"returned shape \(5,\) for 5 images"):
        LogProbabilities(nn.Flatten(0))(torch.rand(5, 1, 1, 1))
