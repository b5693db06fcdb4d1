"""Restarts: never weaker than fewer of them, and no sample is tried again in vain."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import BIM, FAB, PGD, RFGSM, Attack, Restarts
from tempering.core.errors import ThreatError, UsageError
from tempering.core.passes import counted
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, Linf

N = 200


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A bumpy network, on which the start of a climb matters."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 5))
    nn.init.normal_(model[1].weight, std=3.0)
    return model.double().requires_grad_(False)


X = RandomStreams.of(0, N).uniform((1, 4, 4)).double()


def broken(net: nn.Module, x_adv: Tensor) -> Tensor:
    return net(x_adv).argmax(1) != net(X).argmax(1)


def test_more_restarts_break_what_fewer_break_and_more(net: nn.Module) -> None:
    y = net(X).argmax(1)
    attack, threat = PGD(steps=2), Linf(0.02)
    alone = attack(net, X, y, threat)
    results = [Restarts(attack, times)(net, X, y, threat, batch_size=33) for times in (1, 2, 3, 8)]
    assert torch.equal(results[0], alone)
    for fewer, more in pairwise(results):
        kept = broken(net, fewer)
        assert bool(broken(net, more)[kept].all())
        assert torch.equal(more[kept], fewer[kept])
    counts = [int(broken(net, x_adv).sum()) for x_adv in results]
    assert 0 < counts[0] < counts[-1] < N


def test_only_survivors_are_tried_again(net: nn.Module) -> None:
    y = net(X).argmax(1)
    attack, threat = PGD(steps=3, until_fooled=False), Linf(0.02)
    with counted() as passes:
        first = attack(net, X, y, threat)
    assert passes.backward == 3 * N
    survivors = N - int(broken(net, first).sum())
    with counted() as passes:
        Restarts(attack, 2)(net, X, y, threat)
    assert passes.backward == 3 * N + 3 * survivors
    assert passes.forward == passes.backward + N


def test_restarts_end_when_nothing_stands(net: nn.Module) -> None:
    y = (net(X).argmax(1) + 1) % 5
    with counted() as passes:
        Restarts(BIM(steps=3), 50)(net, X, y, Linf(0.02))
    assert (passes.forward, passes.backward) == (2 * N, N)


@pytest.mark.parametrize("attack", [RFGSM(), Restarts(RFGSM(), 2)], ids=str)
@pytest.mark.parametrize("eps", [0.0, 1.0])
def test_a_norm_that_the_inner_attack_does_not_know_is_refused(
    net: nn.Module, attack: Attack, eps: float
) -> None:
    with pytest.raises(ThreatError, match="rfgsm does not attack in l1: it knows linf"):
        Restarts(attack, 2)(net, X, net(X).argmax(1), L1(eps))


def test_restarts_describe_themselves() -> None:
    attack = Restarts(PGD(steps=40), 2)
    assert attack.label() == "pgd-40x2"
    assert attack.config() == {**PGD(steps=40).config(), "restarts": 2}
    assert Restarts(attack, 3).config()["restarts"] == 6
    with pytest.raises(UsageError, match="restarts = 0: give at least 1"):
        Restarts(PGD(), 0)


def test_restarts_of_an_attack_that_begins_at_the_image_begin_elsewhere(net: nn.Module) -> None:
    """FAB draws nothing of its own: without random starts a second run could find nothing new."""
    y, attack, threat = net(X).argmax(1), FAB(steps=1), Linf(0.05)
    alone, more = (broken(net, runs(net, X, y, threat)) for runs in (attack, Restarts(attack, 4)))
    assert bool(more[alone].all())
    assert 0 < int(alone.sum()) < int(more.sum()) < N
