"""Several threats at once: their mean, their worst, their turns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tempering.core.errors import ThreatError, UsageError
from tempering.core.threats import L0, L1, L2, Linf
from tempering.training import DPSGD, MultiNorm, parse_objective
from tempering.training.objectives.logit_pairing import LogitPairing
from tests.training.objectives.test_losses import Table, batch
from tests.training.toys import batch_of, maker

THREATS = (L2(0.5), L1(1.0))


def test_copies_lie_in_their_own_threats() -> None:
    made = batch_of(maker(flag=None), MultiNorm(steps=2, threats=THREATS))
    parts = made.perturbed.unflatten(0, (3, -1))
    for part, threat in zip(parts, (Linf(0.2), *THREATS), strict=True):
        assert bool(threat.contains(part, made.x).all())
        assert float(threat.distance(part, made.x).max()) > 0.8 * threat.eps


def test_mean_and_worst_of_losses_known_by_hand() -> None:
    first, second = [[2.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [3.0, 0.0]]
    made = replace(batch([0, 0], 2), x_adv=torch.zeros(4, 1, 3, 3))
    model, y = Table(*first, *second), torch.tensor([0, 0])
    each = [F.cross_entropy(torch.tensor(rows), y, reduction="none") for rows in (first, second)]
    average = MultiNorm(threats=(L2(1.0),))(model, made)
    torch.testing.assert_close(average.per_sample, (each[0] + each[1]) / 2)
    worst = MultiNorm(threats=(L2(1.0),), mix="worst")(model, made)
    torch.testing.assert_close(worst.per_sample, torch.maximum(*each))
    assert worst.logits.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert float(worst.scalars["loss l2:1"]) == pytest.approx(float(each[1].mean()))


def test_threats_take_turns() -> None:
    objective = MultiNorm(steps=2, threats=THREATS, mix="alternating")
    for step, threat in enumerate((Linf(0.2), *THREATS, Linf(0.2))):
        made = batch_of(maker(flag=None), objective, step)
        assert made.perturbed.shape == made.x.shape
        reached = threat.distance(made.perturbed, made.x)
        assert float(reached.max()) == pytest.approx(threat.eps, rel=0.1)


def test_the_ramp_narrows_every_threat() -> None:
    objective = MultiNorm(steps=2, threats=THREATS, eps_warmup_steps=4)
    made = batch_of(maker(flag=None), objective, step=1)
    parts = made.perturbed.unflatten(0, (3, -1))
    for part, threat in zip(parts, (Linf(0.2), *THREATS), strict=True):
        assert float(threat.distance(part, made.x).max()) <= threat.eps / 2 + 1e-5


def test_threats_are_written_and_read() -> None:
    objective = MultiNorm(threats=(L2(2.0), L1(8.0)), mix="worst")
    assert objective.spec().endswith("mix=worst,threats=l2:2+l1:8")
    assert parse_objective(objective.spec()) == objective
    assert parse_objective("awp+" + objective.spec()).inner == objective  # type: ignore[attr-defined]
    assert objective.config()["threats"] == ["l2:2", "l1:8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("multi-norm:mix=best", "mix = 'best': give one of average, worst, alternating"),
        ("multi-norm:threats=", "no threats: name at least one"),
        ("multi-norm:threats=l2:-1", "l2 eps -1 is not a radius"),
        ("multi-norm:steps=0", "pgd: steps = 0"),
    ],
)
def test_impossible_parameters_are_refused(text: str, message: str) -> None:
    with pytest.raises((UsageError, ThreatError), match=message):
        parse_objective(text)


def test_threats_that_do_not_fit_the_run_are_refused() -> None:
    with pytest.raises(UsageError, match="threats = l2:2, which is that of the run"):
        MultiNorm().require(L2(2.0), 10)
    with pytest.raises(ThreatError, match="pgd does not attack in l0"):
        MultiNorm(threats=(L0(3),)).require(Linf(0.1), 10)


def test_dp_sgd_refuses_it() -> None:
    with pytest.raises(UsageError, match="dp does not wrap multi-norm"):
        DPSGD(MultiNorm())


def test_logit_pairing_is_half_of_both_losses_and_the_squared_gap() -> None:
    model = Table([1.0, 0.0], [0.0, 3.0])
    losses = LogitPairing(lam=2.0)(model, batch([0], 2))
    both = F.cross_entropy(model.logits, torch.tensor([0, 0]), reduction="sum")
    gap = (1.0**2 + 3.0**2) / 2
    assert float(losses.per_sample[0]) == pytest.approx(float(both) / 2 + 2 * gap)
