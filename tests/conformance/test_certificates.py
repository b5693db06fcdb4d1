"""No attack of the registry beats a certificate, on random networks, in any norm with bounds."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import Attack, Transfer
from tempering.certification import METHODS, AlphaCrown, certify
from tempering.certification.region import NORMS
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tests.certification.nets import answers, build, images
from tests.conformance.test_attacks import ATTACKS_TRIED, knows

NETWORKS = ("relu", "residual")
THREATS: tuple[Threat, ...] = (Linf(0.03), L2(0.15), L1(0.3), L0(1))
CONTRAST = {"relu": 0.5, "residual": 0.3}
"""Of the images that a network sees, in L0: bounds of all others are too loose."""
N = 8
WIDER = 8.0


def given(attack: Attack) -> Attack:
    """The attack of the suite; one that makes images elsewhere makes them on a twin."""
    return Transfer(attack.attack, build("relu")) if isinstance(attack, Transfer) else attack


CASES = [
    pytest.param(given(attack), threat, id=f"{attack.label()}-{threat}")
    for attack in ATTACKS_TRIED
    for threat in THREATS
    if knows(attack, threat.name)
]


class LessContrast(nn.Module):
    """A network of darker images."""

    def __init__(self, net: nn.Module, share: float) -> None:
        super().__init__()
        self.net, self.share = net, share

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.share * x)
        return logits


@cache
def case(name: str, threat: Threat) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network, images that it gets right, their labels, and which of them are certified."""
    net, x = build(name), images(N)
    net = LessContrast(net, CONTRAST[name]).eval() if threat.name == "l0" else net
    y = answers(net, x)
    methods, alpha = METHODS[:4], AlphaCrown(steps=5)
    return net, x, y, certify(net, x, y, threat, methods=methods, alpha=alpha).certified


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_some_samples_are_certified_and_some_are_not(threat: Threat) -> None:
    for name in NETWORKS:
        certified = case(name, threat)[3]
        assert 0 < int(certified.sum()) < N, name


def test_every_norm_that_has_bounds_is_tried() -> None:
    assert {threat.name for threat in THREATS} == set(NORMS)


@pytest.mark.parametrize(("attack", "threat"), CASES)
def test_no_attack_beats_a_certificate(attack: Attack, threat: Threat) -> None:
    wider = 0
    for name in NETWORKS:
        net, x, y, certified = case(name, threat)
        x, y = x[certified], y[certified]
        assert torch.equal(answers(net, attack(net, x, y, threat)), y), name
        far = attack(net, x, y, threat.with_eps(WIDER * threat.eps))
        wider += int((answers(net, far) != y).sum())
    assert wider > 0  # it can break them, where nothing is proven
