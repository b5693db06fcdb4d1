"""Minimum norms: recomputed here, against the closed form of a linear model."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tempering.attacks import CWL2, FABT, FMN, PGD, Attack, CWLinf, HopSkipJump, Restarts
from tempering.attacks.base import Problem
from tempering.core.errors import UsageError
from tempering.core.probe import Probe
from tempering.evaluation import distances, measure_minimum_norm
from tempering.evaluation.minimum_norm import unbounded
from tests.evaluation.toys import (
    Scripted,
    cloud,
    context,
    linear,
    signed_margin,
    target,
    weights,
)

DATA = cloud(31, wrong=4, low=0.3, high=0.7)


def test_distances_are_those_of_the_linear_model() -> None:
    model = linear()
    attack = CWL2(searches=7, iterations=300)
    nearest = distances(context(DATA), target(model, DATA), attack)
    w, _ = weights(model)
    exact = signed_margin(model, DATA).clamp_min(0) / w.norm()
    assert (nearest.away[:4] == 0).all(), "errors are at distance 0"
    assert (nearest.away[4:] >= exact[4:] - 1e-6).all(), "nothing lies nearer than the boundary"
    assert torch.allclose(nearest.away[4:], exact[4:], rtol=0.02, atol=attack.learning_rate)


def test_the_record_counts_and_takes_the_median() -> None:
    model = linear()
    attack = CWL2(searches=6, iterations=200)
    here, judged = context(DATA), target(model, DATA, "hardened")
    away = distances(here, judged, attack).away
    bound = float(away.sort().values[20])
    record = measure_minimum_norm(here, judged, attack, [bound, 100.0])
    assert record.found.hits == record.n == 31
    assert record.median == pytest.approx(float(away.sort().values[15]))
    assert {count.hits for count in record.within.values()} == {10, 0}
    assert list(record.within) == [f"{bound:g}", "100"]
    assert (record.attack, record.norm, record.subject) == ("cw-l2", "l2", "hardened")
    assert record.cost.backward > 0


def test_what_fools_nothing_was_not_found() -> None:
    record = measure_minimum_norm(context(DATA), target(linear(), DATA), Scripted(), [1.0])
    assert record.found.hits == 4
    assert record.median is None
    assert record.within["1"].hits == 27


@dataclass(frozen=True)
class Overshoot(Scripted):
    """Goes to the far corner whatever the sample needs, and says nothing of it."""

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        w = torch.tensor(probe.model[1].weight[1].tolist()).reshape(1, 1, 3, 3)  # type: ignore[index]
        toward = torch.where(problem.y == 1, -1.0, 1.0)[:, None, None, None] * w.sign()
        return (toward > 0).to(problem.x.dtype)


def test_distance_is_what_was_changed_not_what_was_needed() -> None:
    nearest = distances(context(DATA), target(linear(), DATA), Overshoot())
    assert nearest.away.isfinite().all()
    assert float(nearest.away[4:].min()) > 1.0


@pytest.mark.parametrize(
    "attack", [CWLinf(steps=3), FABT(steps=3), Restarts(PGD(steps=3), 2), HopSkipJump()], ids=str
)
def test_attacks_that_stop_at_any_success_are_refused(attack: Attack) -> None:
    with pytest.raises(UsageError, match=f"{attack.label()} stops at an image that fools"):
        measure_minimum_norm(context(DATA), target(linear(), DATA), attack, [1.0], norm="linf")


def test_distances_in_linf_are_those_of_the_linear_model() -> None:
    model = linear()
    w, _ = weights(model)
    exact = signed_margin(model, DATA).clamp_min(0) / w.abs().sum()
    for attack in (FMN(steps=100), FABT(steps=20, until_fooled=False)):
        record = measure_minimum_norm(
            context(DATA), target(model, DATA), attack, [0.01], norm="linf"
        )
        assert record.norm == "linf"
        assert record.median == pytest.approx(float(exact.median()), rel=0.05)


def test_only_right_samples_are_attacked() -> None:
    attack = CWL2(searches=1, iterations=1)
    cost = measure_minimum_norm(context(DATA), target(linear(), DATA), attack, []).cost
    assert cost.backward == 27


def test_the_box_is_as_wide_as_its_norm_says() -> None:
    assert unbounded("linf", (1, 2, 2)).eps == 1
    assert unbounded("l2", (3, 4, 3)).eps == pytest.approx(6)
    assert unbounded("l1", (3, 4, 3)).eps == pytest.approx(36)
    with pytest.raises(UsageError, match="norm 'l3': give one of linf, l2, l1"):
        unbounded("l3", (1, 2, 2))
