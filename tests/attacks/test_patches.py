"""Patches: one for each image, and one for all."""

import pytest
import torch

from tempering.attacks import PatchAttack, UniversalPatch
from tempering.core.errors import ThreatError, UsageError
from tempering.core.goals import Targeted
from tempering.core.patches import Patch
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tests.attacks.trained import digits, known, standing, trained

SMALL = Patch(0.06)


def test_a_patch_of_its_own_breaks_every_digit_where_noise_breaks_few() -> None:
    net, (x, y) = trained(), known()
    assert standing(net, SMALL.sample(x, RandomStreams.of(0, len(x))), y) > 0.8
    x_adv = PatchAttack()(net, x, y, SMALL)
    assert bool(SMALL.contains(x_adv, x).all())
    assert standing(net, x_adv, y) < 0.1


def test_a_patch_stays_where_it_is_bound() -> None:
    net, (x, y) = trained(), known(10)
    bound = Patch(0.06, at=(3, 20))
    x_adv = PatchAttack()(net, x, y, bound)
    rows, columns = (x_adv != x).any(0).any(0).nonzero().unbind(1)
    assert 3 <= int(rows.min()) <= int(rows.max()) < 9
    assert 20 <= int(columns.min()) <= int(columns.max()) < 26


def test_patches_reach_targets() -> None:
    net, (x, y) = trained(), known(20)
    x_adv = PatchAttack()(net, x, y, Patch(0.1), goal=Targeted(3))
    assert float((net(x_adv).argmax(1) == 3).double().mean()) > 0.7


def test_one_patch_learned_on_others_works_on_digits_that_it_never_saw() -> None:
    net, (x, y), (others, labels) = trained(), known(), digits()
    threat = Patch(0.1)
    fixed = UniversalPatch(epochs=20).fit(net, others[:300], labels[:300], threat)
    x_adv = fixed(net, x, y, threat)
    assert bool(threat.contains(x_adv, x).all())
    noise = standing(net, threat.sample(x, RandomStreams.of(0, len(x))), y)
    assert standing(net, x_adv, y) < noise - 0.2
    changed = (x_adv != x).any(1)
    assert len({tuple(mask.nonzero()[0].tolist()) for mask in changed}) > 5  # places differ


def test_a_fixed_patch_depends_on_no_other_sample() -> None:
    net, (x, y) = trained(), known(8)
    fixed = UniversalPatch(epochs=2).fit(net, x, y, SMALL)
    streams = RandomStreams.of(0, 8)
    whole = fixed(net, x, y, SMALL, streams)
    rows = torch.tensor([5, 1])
    assert torch.equal(fixed(net, x[rows], y[rows], SMALL, streams[rows]), whole[rows])
    with pytest.raises(ThreatError, match=r"trained for patch:0\.06 under patch:0\.01"):
        fixed(net, x, y, Patch(0.01))


def test_what_is_no_patch_is_refused() -> None:
    net, (x, y) = trained(), known(2)
    with pytest.raises(ThreatError, match="patch does not attack in linf: it knows patch"):
        PatchAttack()(net, x, y, Linf(0.1))
    with pytest.raises(ThreatError, match="leaves an image of 28 x 28"):
        PatchAttack()(net, x, y, Patch(0.06, at=(25, 0)))
    with pytest.raises(UsageError, match="no training images"):
        UniversalPatch().fit(net, x[:0], y[:0], SMALL)
