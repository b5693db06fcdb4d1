"""Triggers that are reconstructed, and the class that they give away."""

import pytest
import torch
from torch import Tensor, nn

from tempering.core.errors import DataError, NoGradientError, UsageError
from tempering.data.dataset import Dataset
from tempering.poisoning.models.reconstruction import NeuralCleanse
from tests.poisoning.models.planted import (
    SCAN,
    TARGET,
    backdoored,
    clean_network,
    images,
    trigger,
    triggers,
)


def test_the_planted_class_is_found_and_its_trigger_lies_where_it_was_planted() -> None:
    judged = SCAN.judged(backdoored(), images().test, triggers(planted=True))
    assert [held.target for held in judged if held.suspect] == [TARGET]
    assert judged[TARGET].success.fraction > 0.9
    mask = triggers(planted=True)[TARGET].trigger.mask
    assert float(mask[-4:, -4:].sum()) > 0.8 * float(mask.sum())
    assert judged[TARGET].size < 2 * float(trigger().mask.sum())


def test_a_clean_model_is_not_flagged() -> None:
    judged = SCAN.judged(clean_network(), images().test, triggers(planted=False))
    assert not any(held.suspect for held in judged)
    assert all(held.reached for held in judged)
    assert SCAN.chance(judged) > 0.1


def toy() -> tuple[nn.Module, Dataset]:
    """A linear model of three classes, the last of which one pixel calls."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.zero_()
        net[1].weight[0, :8], net[1].weight[1, 8:] = 1, 1
        net[1].weight[2, 5] = 40
        net[1].bias[2] = -20
    x = 0.3 * torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return net, Dataset.of(x, torch.arange(30) % 3)


def test_the_smallest_trigger_of_a_linear_model_is_its_pixel() -> None:
    net, data = toy()
    found = NeuralCleanse(steps=300, batch_size=8).reconstruct(net, data)
    mask = found[2].trigger.mask.flatten()
    assert int(mask.argmax()) == 5
    assert found[2].size < 1.5
    assert found[2].trigger.values.flatten()[5] > 0.7


def test_the_same_seed_gives_the_same_triggers_and_the_model_stays_as_it_is() -> None:
    net, data = toy()
    net.train()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    search = NeuralCleanse(steps=12)
    once, again = search.reconstruct(net, data, seed=3), search.reconstruct(net, data, seed=3)
    other = search.reconstruct(net, data, seed=4)
    assert all(
        torch.equal(a.trigger.mask, b.trigger.mask) for a, b in zip(once, again, strict=True)
    )
    assert not torch.equal(once[0].trigger.mask, other[0].trigger.mask)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert net.training


def test_classes_that_are_searched_apart_have_the_triggers_of_all_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, data = toy()
    search = NeuralCleanse(steps=12, batch_size=8)
    together = search.reconstruct(net, data)
    monkeypatch.setattr("tempering.poisoning.models.reconstruction.MOST_AT_ONCE", 8)
    apart = search.reconstruct(net, data)
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a.trigger.mask, b.trigger.mask)


class Blocked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = toy()[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.detach()).detach()


def test_what_cannot_be_searched_is_refused() -> None:
    net, data = toy()
    with pytest.raises(NoGradientError, match="no gradient"):
        NeuralCleanse().reconstruct(Blocked(), data)
    same = Dataset.of(data.x, torch.zeros(30, dtype=torch.int64), ["a", "b", "c"])
    with pytest.raises(DataError, match="all images of arrays are of class a"):
        NeuralCleanse().reconstruct(net, same)
    with pytest.raises(UsageError, match="steps 0: give at least 1"):
        NeuralCleanse(steps=0)
    with pytest.raises(UsageError, match="success 1: give a share above 0 and below 1"):
        NeuralCleanse(success=1)
