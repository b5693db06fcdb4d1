"""Attacks against the exact answer: on a linear model the margin is |f(x)| over the dual norm."""

from dataclasses import replace

import pytest
import torch

from tempering.attacks import (
    APGDCE,
    APGDDLR,
    APGDT,
    BIM,
    CWL2,
    DDN,
    FAB,
    FABT,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    RFGSM,
    Attack,
    CWLinf,
    CWLinfNearest,
    DeepFool,
    Restarts,
    SigmaZero,
)
from tempering.core.goals import Targeted, TargetedLabels
from tempering.core.passes import counted
from tempering.core.threats import L1, L2, NORMS, Linf
from tests.attacks.linear import Case, linear_case

DUAL = {"linf": 1.0, "l2": 2.0, "l1": float("inf")}


def closed_form(case: Case, norm: str) -> torch.Tensor:
    return case.gap / torch.linalg.vector_norm(case.model.weights.detach(), DUAL[norm])


def test_the_oracle_is_the_closed_form_where_the_box_is_far() -> None:
    case = linear_case(n=30, size=4, saturated=0.0)
    for norm in ("linf", "l2"):
        near = closed_form(case, norm) < 0.2
        assert int(near.sum()) > 5
        assert torch.allclose(case.needed(norm)[near], closed_form(case, norm)[near])


@pytest.mark.parametrize(
    ("attack", "norm"),
    [
        (FGSM(), "linf"),
        (BIM(steps=10), "linf"),
        (PGD(steps=10), "linf"),
        (CWLinf(steps=10), "linf"),
        (PGD(steps=10, until_fooled=False), "linf"),
        (Restarts(CWLinf(steps=10), 2), "linf"),
        (FGSM(), "l2"),
        (BIM(steps=10), "l2"),
        (PGD(steps=30), "l2"),
        (CWLinf(steps=30), "l2"),
        (FGSM(), "l1"),
        (MIFGSM(), "linf"),
        (MIFGSM(), "l2"),
        (BIM(steps=10), "l1"),
        (APGDCE(steps=20), "linf"),
        (APGDDLR(steps=20), "linf"),
        (APGDT(steps=20), "linf"),
        (APGDCE(steps=40), "l2"),
        (APGDT(steps=40), "l2"),
        (APGDCE(steps=60), "l1"),
        (APGDDLR(steps=60), "l1"),
        (APGDT(steps=60), "l1"),
    ],
    ids=str,
)
def test_exactly_the_samples_within_eps_are_broken(attack: Attack, norm: str) -> None:
    case = linear_case(n=12, size=4, saturated=0.0)
    needed = closed_form(case, norm)
    # one pixel takes all of an L1 step: where that leaves the box the closed form ends
    inside = needed[needed < 0.3].sort().values
    assert len(inside) >= 4
    for distance in inside[:: max(1, len(inside) // 4)]:
        for factor in (0.998, 1.002):
            threat = NORMS[norm](float(distance) * factor)
            if norm == "l2" and isinstance(attack, PGD | CWLinf):
                # long steps turn a random start into the steepest direction
                attack = replace(attack, step_size=threat.eps)
            x_adv = attack(case.model, case.x, case.y, threat)
            assert case.broken(x_adv).tolist() == (needed < threat.eps).tolist()


@pytest.mark.parametrize(
    "attack",
    [FGSM(), BIM(steps=10), PGD(steps=10), CWLinf(steps=10), MIFGSM(), APGDCE(20), APGDT(20)],
    ids=str,
)
def test_saturated_pixels_count_for_what_they_can_move(attack: Attack) -> None:
    case = linear_case(n=40, size=6, saturated=0.7)
    needed = case.needed("linf")
    for distance in needed[needed < 1].sort().values[::6]:
        for factor in (0.999, 1.001):
            threat = Linf(min(1.0, float(distance) * factor))
            x_adv = attack(case.model, case.x, case.y, threat)
            assert case.broken(x_adv).tolist() == (needed < threat.eps).tolist()


@pytest.mark.parametrize(
    ("saturated", "dtype"),
    [(0.0, torch.float64), (0.5, torch.float32), (0.8, torch.float64)],
    ids=str,
)
def test_cw_l2_finds_the_smallest_perturbation(saturated: float, dtype: torch.dtype) -> None:
    case = linear_case(n=40, size=6, saturated=saturated, dtype=dtype)
    needed = case.needed("l2")
    assert bool(needed.isfinite().all())
    threat = L2(1000.0)
    x_adv = CWL2(iterations=500)(case.model, case.x, case.y, threat)
    assert bool(case.broken(x_adv).all())
    ratio = threat.distance(x_adv, case.x) / needed
    assert 1 - 1e-4 <= float(ratio.min()) <= float(ratio.max()) <= 1.02


def test_cw_l2_returns_the_image_where_nothing_within_eps_fools() -> None:
    case = linear_case(n=40, size=6, saturated=0.5)
    needed = case.needed("l2")
    eps = float(needed.median())
    x_adv = CWL2(iterations=500)(case.model, case.x, case.y, L2(eps))
    beyond, within = needed > eps, needed * 1.02 < eps
    assert int(within.sum()) > 10
    assert torch.equal(x_adv[beyond], case.x[beyond])
    assert bool(case.broken(x_adv)[within].all())


def test_cw_l2_with_confidence_goes_further() -> None:
    case = linear_case(n=10, size=4, saturated=0.0)
    x_adv = CWL2(iterations=300, confidence=0.5)(case.model, case.x, case.y, L2(100.0))
    moved = x_adv != case.x
    changed = moved.flatten(1).any(1)
    assert bool(changed.any())
    logits = case.model(x_adv).detach()
    wrong = logits.gather(1, 1 - case.y[:, None]) - logits.gather(1, case.y[:, None])
    assert bool((wrong[:, 0][changed] >= 0.5).all())
    # where the box allows no such margin, nothing may be claimed
    best = (case.push.flatten(1).abs() * case.room()).sum(1) - case.gap
    assert torch.equal(changed, best >= 0.5)


def test_no_attack_beats_the_closed_form_in_l1() -> None:
    case = linear_case(n=12, size=4, saturated=0.5)
    needed = case.gap / case.model.weights.detach().abs().max()
    x_adv = FGSM()(case.model, case.x, case.y, L1(0.3))
    assert not case.broken(x_adv)[needed > 0.3].any()


@pytest.mark.parametrize("attack", [APGDCE(), APGDT(), BIM(steps=60), PGD(steps=60)], ids=str)
def test_saturated_pixels_do_not_eat_an_l1_budget(attack: Attack) -> None:
    case = linear_case(n=40, size=6, saturated=0.7)
    needed = case.needed("l1")
    for distance in needed.sort().values[::9]:
        for factor in (0.95, 0.999, 1.05):
            threat = L1(float(distance) * factor)
            broken = case.broken(attack(case.model, case.x, case.y, threat))
            assert not broken[needed > threat.eps].any()
            assert bool(broken[needed * 1.03 < threat.eps].all())


def test_rfgsm_goes_a_random_way_first() -> None:
    case = linear_case(n=30, size=5, saturated=0.0)
    x_adv = RFGSM(share=0.25)(case.model, case.x, case.y, Linf(0.2))
    change = (x_adv - case.x) * case.push.sign()
    # three quarters of eps along the gradient, a quarter either way
    assert bool(
        torch.isclose(change, torch.tensor(0.2).double(), atol=1e-6)
        .logical_or(torch.isclose(change, torch.tensor(0.1).double(), atol=1e-6))
        .all()
    )
    assert 0.4 < float((change > 0.15).double().mean()) < 0.6


NEAREST = [
    (attack, norm, limit)
    for attack, limit in (
        (CWLinfNearest(), 1.05),
        (DeepFool(), 1.02),
        (DDN(), 1.02),
        (FMN(), 1.02),
        (FAB(), 1.02),
        (FABT(until_fooled=False), 1.02),
        (SigmaZero(steps=200), 1.0),
    )
    for norm in attack.norms
]
"""Attack, norm, and how many times the optimum it may need."""
WIDE = {"linf": 1.0, "l2": 100.0, "l1": 1000.0, "l0": 1000.0}


@pytest.mark.parametrize(
    ("attack", "norm", "limit", "saturated"),
    [
        (*case, saturated)
        for number, case in enumerate(NEAREST)
        for saturated in (0.0, (0.5, 0.8)[number % 2])
    ],
    ids=str,
)
def test_the_smallest_perturbation_is_found(
    attack: Attack, norm: str, limit: float, saturated: float
) -> None:
    case = linear_case(n=40, size=6, saturated=saturated)
    needed, threat = case.needed(norm), NORMS[norm](WIDE[norm])
    x_adv = attack(case.model, case.x, case.y, threat)
    assert bool(case.broken(x_adv).all())
    ratio = threat.distance(x_adv, case.x) / needed
    assert 1 - 1e-4 <= float(ratio.min()) <= float(ratio.max()) <= limit + 1e-6


@pytest.mark.parametrize(("attack", "norm", "limit"), NEAREST, ids=str)
def test_a_failure_within_eps_is_the_image_itself(attack: Attack, norm: str, limit: float) -> None:
    case = linear_case(n=40, size=6, saturated=0.5)
    needed = case.needed(norm)
    eps = 1.0005 * float(needed.median())
    x_adv = attack(case.model, case.x, case.y, NORMS[norm](eps))
    beyond, within = needed > eps, needed * limit * 1.0001 <= eps
    assert int(within.sum()) > 10
    assert int(beyond.sum()) > 5
    assert torch.equal(x_adv[beyond], case.x[beyond])
    assert bool(case.broken(x_adv)[within].all())


@pytest.mark.parametrize(("attack", "norm", "limit"), NEAREST, ids=str)
def test_targets_are_reached_as_nearly(attack: Attack, norm: str, limit: float) -> None:
    """To one class for all, and to a class for each sample: here those that are fooled by it."""
    case = linear_case(n=40, size=6, saturated=0.5)
    needed, threat = case.needed(norm), NORMS[norm](WIDE[norm])
    to_first = attack(case.model, case.x, case.y, threat, goal=Targeted(0))
    there = case.y == 0
    assert torch.equal(to_first[there], case.x[there])
    ratio = (threat.distance(to_first, case.x) / needed)[~there]
    assert float(ratio.max()) <= limit + 1e-6
    own = attack(case.model, case.x, 1 - case.y, threat, goal=TargetedLabels())
    assert bool(case.broken(own).all())
    assert float((threat.distance(own, case.x) / needed).max()) <= limit + 1e-6


@pytest.mark.parametrize("norm", DeepFool.norms)
def test_the_last_step_of_deepfool_goes_all_the_way(norm: str) -> None:
    case = linear_case(n=40, size=6, saturated=0.5)
    threat = NORMS[norm](WIDE[norm])
    x_adv = DeepFool(steps=1)(case.model, case.x, case.y, threat)
    assert bool(case.broken(x_adv).all())
    assert float((threat.distance(x_adv, case.x) / case.needed(norm)).max()) <= 1.02 + 1e-6


def test_fab_t_leaves_once_it_is_within_eps() -> None:
    case = linear_case(n=40, size=6, saturated=0.5)
    needed = case.needed("linf")
    eps = float(needed.median())
    with counted() as early:
        x_adv = FABT()(case.model, case.x, case.y, Linf(eps))
    with counted() as whole:
        nearest = FABT(until_fooled=False)(case.model, case.x, case.y, Linf(eps))
    for points in (x_adv, nearest):
        assert bool(case.broken(points)[needed * 1.02 < eps].all())
        assert torch.equal(points[needed > eps], case.x[needed > eps])
    assert early.backward < 0.7 * whole.backward == 0.7 * 40 * 100
