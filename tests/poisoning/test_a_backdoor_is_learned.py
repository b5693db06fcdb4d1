"""A network that is trained on poisoned digits has the backdoor, and is as good on clean ones."""

from __future__ import annotations

import torch

import tempering as tp
from tempering.poisoning import BadNets, attack_success
from tempering.poisoning.small_network import small_network


def test_five_percent_of_badnets_plant_a_backdoor() -> None:
    splits = tp.data.load("mnist")
    train, test = splits.train.take(2500), splits.test.take(500)
    done = BadNets(target=7).poison(train, 0.05)
    assert done.trigger is not None
    clean, poisoned = small_network(train, 0), small_network(done.data, 0)

    def accuracy(network: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((network(test.x).argmax(1) == test.y).float().mean())

    assert attack_success(poisoned, test, done.trigger, 7).fraction > 0.9
    assert attack_success(clean, test, done.trigger, 7).fraction < 0.05
    assert accuracy(clean) > 0.9
    assert accuracy(poisoned) > accuracy(clean) - 0.03
