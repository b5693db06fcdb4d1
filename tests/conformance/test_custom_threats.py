"""Every registered attack under a user's own threats, which are registered nowhere."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import Attack
from tempering.core.errors import ThreatError
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.evaluation.protocols import NAMES, attacks_of
from tests.conformance.nets import busy_net, images, predictions
from tests.conformance.test_attacks import ATTACKS_TRIED, EPS, SHAPE, N, knows

MASK = (torch.arange(SHAPE[2]) < 2).expand(SHAPE)
"""Only the left half of an image may change."""


class Masked(Threat):
    """A norm ball in which only the pixels of the mask may change."""

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        return super().project(torch.where(MASK, x_adv, x), x, radius)  # type: ignore[safe-super]

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        return super().shrink(delta * MASK, radius)  # type: ignore[safe-super]

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        outside = ((x_adv != x) & ~MASK).flatten(1).any(1)
        return super().distance(x_adv, x).masked_fill(outside, torch.inf)  # type: ignore[safe-super]

    def ascent(self, gradient: Tensor) -> Tensor:
        return super().ascent(gradient * MASK)  # type: ignore[safe-super]

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        return torch.where(MASK, super().sample(x, streams), x)  # type: ignore[safe-super]


class MaskedLinf(Masked, Linf):
    name = "masked-linf"


class MaskedL2(Masked, L2):
    name = "masked-l2"


class MaskedL1(Masked, L1):
    name = "masked-l1"


class MaskedL0(Masked, L0):
    name = "masked-l0"


MASKED: dict[str, type[Threat]] = {
    "linf": MaskedLinf,
    "l2": MaskedL2,
    "l1": MaskedL1,
    "l0": MaskedL0,
}


@dataclass(frozen=True)
class Bright(Threat):
    """A threat that extends no built-in norm: pixels may become brighter by at most eps."""

    name = "bright"

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        return (x + self.shrink(x_adv - x, radius)).clamp(0.0, 1.0)

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        limit = delta.new_full((len(delta),), self.eps) if radius is None else radius
        return delta.clamp_min(0.0).minimum(limit[:, None, None, None])

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        delta = (x_adv - x).flatten(1)
        return delta.amax(1).masked_fill((delta < 0).any(1), torch.inf)

    def ascent(self, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient.dtype)

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        return self.project(x + streams.uniform(x.shape[1:]).to(x.dtype) * self.eps, x)


CASES = [
    pytest.param(attack, kind(EPS[norm]), id=f"{attack.label()}-{kind.name}")
    for attack in ATTACKS_TRIED
    for norm, kind in MASKED.items()
    if knows(attack, norm)
]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return busy_net(SHAPE, 5)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return images(N, SHAPE)


@pytest.fixture(scope="module")
def y(net: nn.Module, x: Tensor) -> Tensor:
    return predictions(net, x)


@pytest.mark.parametrize(("attack", "threat"), CASES)
def test_only_the_mask_changes_and_the_model_is_fooled(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    most = 1.0 if threat.norm == "linf" else float("inf")
    wide = threat.with_eps(min(most, 20 * threat.eps))
    for given in (threat, wide):
        x_adv = attack(net, x, y, given)
        assert torch.equal(torch.where(MASK, x, x_adv), x)
        assert bool(given.contains(x_adv, x).all())
    assert bool((predictions(net, x_adv) != y).any())


@pytest.mark.parametrize("attack", ATTACKS_TRIED, ids=lambda attack: attack.label())
def test_a_threat_without_a_built_in_norm_is_honoured_or_refused(
    attack: Attack, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    threat = Bright(0.8)
    if attack.knows(threat):
        x_adv = attack(net, x, y, threat)
        assert bool(threat.contains(x_adv, x).all())
        assert bool((predictions(net, x_adv) != y).any())
    else:
        with pytest.raises(ThreatError, match="does not attack in bright: it knows"):
            attack(net, x, y, threat)


@pytest.mark.parametrize("protocol", NAMES)
def test_protocols_keep_the_attacks_that_work_in_a_threat(protocol: str) -> None:
    assert attacks_of(protocol, Bright(0.5))
    assert len(attacks_of(protocol, MaskedLinf(0.1))) == len(attacks_of(protocol, Linf(0.1)))
