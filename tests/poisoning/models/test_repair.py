"""Repair removes the backdoor that was found, and the true one with it."""

import pytest
import torch
from torch import Tensor, nn

from tempering.app.scan_model import accuracy
from tempering.core.errors import ModelError, UnknownNameError, UsageError
from tempering.models.adoption import FunctionModel
from tempering.poisoning import attack_success
from tempering.poisoning.models.pruning import prune
from tempering.poisoning.models.repair import Repairing
from tests.poisoning.models.planted import TARGET, backdoored, images, trigger, triggers


def test_repair_removes_the_backdoor_and_keeps_clean_accuracy() -> None:
    model, test = backdoored(), images().test
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = triggers(planted=True)[TARGET].trigger
    done = Repairing(steps=150).repair(model, images().clean, [found])
    assert attack_success(model, test, trigger(), TARGET).fraction > 0.9
    assert attack_success(done.model, test, trigger(), TARGET).fraction < 0.1
    assert attack_success(done.model, test, found, TARGET).fraction < 0.1
    assert accuracy(done.model, test).fraction > accuracy(model, test).fraction - 0.02
    assert all(torch.equal(before[name], held) for name, held in model.state_dict().items())
    assert not done.model.training


def test_pruned_filters_stay_zero_while_the_others_learn() -> None:
    done = Repairing("fine-pruning", steps=3).repair(backdoored(), images().clean, [])
    assert done.pruned is not None
    assert done.pruned.rows
    layer, before = done.model.conv2, backdoored().conv2
    rows = list(done.pruned.rows)
    kept = [row for row in range(done.pruned.of) if row not in rows]
    assert not bool(layer.weight[rows].any() or layer.bias[rows].any())
    assert not torch.equal(layer.weight[kept], before.weight[kept])


def test_a_network_without_convolutions_loses_dormant_neurons() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10))
    with torch.no_grad():
        net[1].bias[:4] = -100
    pruned = prune(net, images().clean, most_lost=0.0)
    assert pruned.layer == "1"
    assert {0, 1, 2, 3} <= set(pruned.rows)


def test_what_cannot_be_repaired_is_refused() -> None:
    clean = images().clean
    with pytest.raises(ModelError, match="is a function, which has no weights to train"):
        Repairing().require(FunctionModel(lambda x: x.flatten(1)[:, :10]), clean)
    frozen = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).requires_grad_(False)
    with pytest.raises(ModelError, match="all 2 parameters are frozen"):
        Repairing().require(frozen, clean)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(ModelError, match="neither a convolution nor a hidden linear layer"):
        Repairing().require(linear, clean)
    Repairing("unlearning").require(linear, clean)
    with pytest.raises(UsageError, match="method both without a trigger"):
        Repairing().repair(backdoored(), clean, [])
    with pytest.raises(UnknownNameError, match="unknown method 'prune'"):
        Repairing("prune")


class Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > 40:
            raise ValueError("too many")
        return self.inner(x.flatten(1))


def test_a_model_that_fails_in_training_is_named_in_one_line() -> None:
    found = triggers(planted=True)[TARGET].trigger
    with pytest.raises(ModelError, match="the model fails in training: ValueError: too many"):
        Repairing("unlearning").repair(Fails(), images().clean, [found])
