"""More attempts for samples that an attack nearly fooled."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import PGD, HardSampleRetry
from tempering.attacks.base import Problem
from tempering.attacks.hard_sample_retry import RetrySettings
from tempering.attacks.losses import ratio
from tempering.core.errors import ThreatError, UsageError
from tempering.core.goals import Untargeted
from tempering.core.passes import counted
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf
from tempering.models.seeded import seeded

N = 60
X = RandomStreams.of(1, N).uniform((1, 6, 6))
WEAK = PGD(steps=1)


class Folded(nn.Module):
    """A random network of a periodic activation: many hills, and most climbs end on a low one."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(4):
            self.first, self.second = nn.Linear(36, 24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.sin(4.0 * self.first(x.flatten(1))))


class OneAtATime(Probe):
    """A model that may be shown a sample once at a time."""

    stateful = True

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        assert index is None or len(index.unique()) == len(index)
        return super()._forward(x, index)


class Hasty(OneAtATime):
    """The same, and does not say so."""

    stateful = False


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return Folded().double()


def broken(net: nn.Module, x_adv: Tensor, y: Tensor) -> int:
    return int((net(x_adv).argmax(1) != y).sum())


@pytest.mark.parametrize("threat", [Linf(0.03), L2(0.1), L1(0.4)])
def test_it_breaks_what_the_attack_nearly_broke(net: nn.Module, threat: Linf | L2 | L1) -> None:
    x = X.double()
    y = net(x).argmax(1)
    before = broken(net, WEAK(net, x, y, threat), y)
    x_adv = HardSampleRetry(WEAK, RetrySettings(steps=20))(net, x, y, threat)
    assert broken(net, x_adv, y) > before
    assert bool(threat.contains(x_adv, x).all())


def test_points_are_never_farther_from_success_than_before(net: nn.Module) -> None:
    x = X.double()
    y = net(x).argmax(1)
    keep = nn.functional.one_hot(y, 5).bool()
    before = ratio(net(WEAK(net, x, y, Linf(0.01))), keep)
    after = ratio(net(HardSampleRetry(WEAK, RetrySettings(steps=5))(net, x, y, Linf(0.01))), keep)
    assert bool((after >= before).all())
    assert bool((after > before).any())


def test_who_is_far_from_success_costs_a_look_and_nothing_more(net: nn.Module) -> None:
    x = X.double()
    y = net(x).argmax(1)
    tiny = Linf(1e-9)
    far = ratio(net(x), nn.functional.one_hot(y, 5).bool()) < -0.6
    assert 0 < int(far.sum()) < N
    with counted() as alone:
        WEAK(net, x[far], y[far], tiny)
    with counted() as passes:
        HardSampleRetry(WEAK)(net, x[far], y[far], tiny)
    assert passes.backward == alone.backward
    assert passes.forward == alone.forward + int(far.sum())
    with counted() as more:
        HardSampleRetry(WEAK)(net, x, y, tiny)
    assert more.backward > N


def problem(net: nn.Module, rows: slice) -> Problem:
    x = X.double()[rows]
    return Problem(x, net(x).argmax(1), Linf(0.01), RandomStreams.of(3, N)[rows], Untargeted(), 100)


def test_a_sample_gets_the_same_alone_and_from_a_model_that_sees_it_once_at_a_time(
    net: nn.Module,
) -> None:
    attack, everyone = HardSampleRetry(WEAK, RetrySettings(steps=10)), problem(net, slice(None))
    together = attack.propose(Probe(net), everyone)
    alone = attack.propose(Probe(net), problem(net, slice(7, 19)))
    patient = attack.propose(OneAtATime(net), everyone)
    assert torch.allclose(together[7:19], alone)
    assert torch.allclose(together, patient)
    with pytest.raises(AssertionError):
        attack.propose(Hasty(net), everyone)


def test_its_name_and_its_settings() -> None:
    settings = RetrySettings(steps=20, targets=2)
    attack = HardSampleRetry(WEAK, settings)
    assert attack.label() == "pgd-1+hard-sample-retry"
    assert attack.config()["hard-sample-retry"] == asdict(settings)
    assert attack.effort() > WEAK.effort()


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 0), ("margin", -0.1), ("square_margin", 0), ("square_queries", 3)],
)
def test_invalid_settings_are_refused(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"retry: {field} = {value}"):
        RetrySettings(**{field: value})  # type: ignore[arg-type]


def test_a_threat_that_the_inner_attack_does_not_know_is_refused() -> None:
    with pytest.raises(ThreatError, match="l0"):
        HardSampleRetry(WEAK).require(L0(3))
