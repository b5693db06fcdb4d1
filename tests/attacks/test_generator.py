"""The generator: it learns to fool, also on images that it never saw."""

import pytest
import torch

from tempering.attacks import Generator
from tempering.core.errors import ThreatError, UsageError
from tempering.core.passes import counted
from tempering.core.patches import Patch
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, L2, Linf, Threat
from tests.attacks.trained import digits, known, standing, trained


@pytest.mark.parametrize("threat", [Linf(0.15), L2(2.5), L1(20.0)], ids=str)
def test_it_fools_on_images_that_it_never_saw_and_asks_nothing_then(threat: Threat) -> None:
    net, (x, y), (others, labels) = trained(), known(), digits()
    made = Generator(epochs=12).fit(net, others[:400], labels[:400], threat)
    with counted() as passes:
        x_adv = made(net, x, y, threat)
    assert (passes.forward, passes.backward) == (0, 0)
    assert bool(threat.contains(x_adv, x).all())
    noise = standing(net, threat.sample(x, RandomStreams.of(0, len(x))), y)
    assert noise > 0.9
    assert standing(net, x_adv, y) < 0.75


def test_a_trained_one_depends_on_no_other_sample_and_training_on_no_order() -> None:
    net, (x, y) = trained(), known(8)
    threat, streams = Linf(0.1), RandomStreams.of(0, 8)
    made = Generator(epochs=2).fit(net, x, y, threat, streams)
    whole = made(net, x, y, threat, streams)
    back = torch.arange(8).flip(0)
    assert Generator(epochs=2).fit(net, x[back], y[back], threat, streams[back]) == made
    single = made(net, x[3:4], y[3:4], threat, streams[3:4])
    assert torch.allclose(single, whole[3:4], rtol=0, atol=1e-6)


def test_it_costs_a_gradient_a_sample_and_epoch() -> None:
    net, (x, y) = trained(), known(8)
    with counted() as passes:
        Generator(epochs=3)(net, x, y, L2(1.0))
    assert (passes.forward, passes.backward) == (24, 24)


def test_a_smaller_ball_than_it_was_trained_for_is_kept() -> None:
    net, (x, y) = trained(), known(8)
    made = Generator(epochs=2).fit(net, x, y, Linf(0.2))
    assert bool(Linf(0.05).contains(made(net, x, y, Linf(0.05)), x).all())


def test_mistakes_are_named() -> None:
    net, (x, y) = trained(), known(2)
    for settings in ({"epochs": 0}, {"width": 0}, {"batch": 0}, {"learning_rate": -1.0}):
        with pytest.raises(UsageError, match=r"generator: .* give"):
            Generator(**settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no training images"):
        Generator().fit(net, x[:0], y[:0], Linf(0.1))
    with pytest.raises(ThreatError, match="generator does not attack in patch"):
        Generator()(net, x, y, Patch(0.1))
