"""Each objective, on 8 x 8 digits: it improves what it claims over standard training."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from tempering.attacks import PGD, CWLinf
from tempering.certification import certify
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.models.registry import build
from tempering.training import (
    ARD,
    FGSMRS,
    MTLIBP,
    NFGSM,
    RSLAD,
    SABR,
    AdamW,
    CrownIBP,
    Distillation,
    Free,
    GaussianNoise,
    GeneratorPartner,
    GradAlign,
    Interval,
    LogitPairing,
    Mart,
    MultiNorm,
    Objective,
    Paper,
    PGDTraining,
    SmoothAdv,
    Standard,
    StepConfig,
    Trades,
    Wrapper,
    train_steps,
)
from tempering.training.objectives.registry import OBJECTIVES
from tempering.training.objectives.single_pass import SinglePass
from tests.training.toys import ENGINE

THREAT = Linf(0.15)
SHORT = PGD(steps=5, until_fooled=False)
STEPS = 100


@cache
def digits() -> Splits:
    return load("digits", "official", 0)


@cache
def trained(objective: Objective, steps: int = STEPS, eps: float = THREAT.eps) -> nn.Module:
    model = build("strided_cnn", (1, 8, 8), 10, width=8, hidden=32, squeeze=[])
    config = StepConfig(Linf(eps), batch_size=64, optimizer=AdamW(5e-3))
    state = train_steps(model, digits().train, objective, steps, config=config, engine=ENGINE)
    model.load_state_dict(state.weights)
    return model.eval()


def robust(model: nn.Module) -> float:
    """Accuracy under PGD, a fraction."""
    test = digits().test
    x_adv = PGD(steps=20)(model, test.x, test.y, THREAT)
    with torch.no_grad():
        return float((model(x_adv).argmax(1) == test.y).float().mean())


def noisy(model: nn.Module, sigma: float) -> float:
    """Accuracy under Gaussian noise, a fraction."""
    test = digits().test
    noise = RandomStreams.of(7, len(test)).normal(test.shape)
    with torch.no_grad():
        return float((model(test.x + sigma * noise).argmax(1) == test.y).float().mean())


@pytest.mark.parametrize(
    "objective",
    [
        Paper(attacks=(SHORT, CWLinf(steps=5, until_fooled=False))),
        Trades(steps=5),
        Mart(steps=5),
    ],
    ids=lambda objective: objective.name,
)
def test_adversarial_objectives_are_more_robust_than_standard_training(
    objective: Objective,
) -> None:
    assert robust(trained(objective)) > robust(trained(Standard())) + 0.15


def test_single_pass_copies_protect_less_than_fresh_samples() -> None:
    undefended = trained(Standard())
    data, objective = SinglePass((SHORT,)).prepare(digits().train, undefended, THREAT, seed=1)
    assert len(data) == 2 * len(digits().train)
    half = len(digits().train)
    assert torch.equal(data.x[:half], digits().train.x)
    assert bool(THREAT.contains(data.x[half:], data.x[:half]).all())
    with torch.no_grad():
        copies = undefended(data.x[half:]).argmax(1) == data.y[half:]
    assert float(copies.float().mean()) < 0.5
    assert isinstance(objective, Standard)


def test_interval_training_can_be_certified_and_standard_training_cannot() -> None:
    objective = Interval(kappa=0.5, ramp_start=0.1, ramp_end=0.7)
    model, test = trained(objective, steps=200, eps=0.05), digits().test.first(60)

    def share(model: nn.Module) -> float:
        certificates = certify(model, test.x, test.y, Linf(0.05), methods=("interval",))
        return float(certificates.certified.float().mean())

    assert share(model) > 0.3
    assert share(trained(Standard(), steps=200)) < 0.05


def test_training_under_noise_withstands_noise() -> None:
    sigma = 0.5
    noise, standard = trained(GaussianNoise(sigma), 200), trained(Standard(), 200)
    assert noisy(noise, sigma) > noisy(standard, sigma) + 0.05


@pytest.mark.parametrize(
    "objective",
    [
        FGSMRS(),
        NFGSM(),
        GradAlign(),
        LogitPairing(steps=3),
        PGDTraining(steps=3),
        MultiNorm(steps=3, threats=(L2(0.3),)),
    ],
    ids=lambda objective: objective.name,
)
def test_cheaper_and_wider_objectives_are_robust_too(objective: Objective) -> None:
    assert robust(trained(objective)) > robust(trained(Standard())) + 0.15


def test_a_generator_is_a_partner_that_makes_more_robust() -> None:
    assert robust(trained(GeneratorPartner(), 150)) > robust(trained(Standard(), 150)) + 0.05


def test_replayed_batches_are_robust_at_the_cost_of_standard_training() -> None:
    assert robust(trained(Free(m=3), 150)) > robust(trained(Standard(), 150)) + 0.1


@pytest.mark.parametrize(
    "objective",
    [
        CrownIBP(ramp_start=0.1, ramp_end=0.7),
        SABR(steps=3, ramp_start=0.1, ramp_end=0.7),
        MTLIBP(steps=3, ramp_start=0.1, ramp_end=0.7),
    ],
    ids=lambda objective: objective.name,
)
def test_certified_objectives_can_be_certified(objective: Objective) -> None:
    model, test = trained(objective, steps=200, eps=0.05), digits().test.first(60)
    certificates = certify(model, test.x, test.y, Linf(0.05), methods=("crown",))
    assert float(certificates.certified.float().mean()) > 0.3


def test_attacks_beside_noise_make_more_robust_than_noise_alone() -> None:
    noise, smooth = GaussianNoise(0.25), SmoothAdv(0.25, samples=1, steps=2)
    assert robust(trained(smooth)) > robust(trained(noise)) + 0.1


@pytest.mark.parametrize("kind", [ARD, RSLAD])
def test_students_of_a_robust_teacher_are_robust(kind: type[Distillation]) -> None:
    student = kind(trained(Trades(steps=5)), steps=3)
    assert robust(trained(student)) > robust(trained(Standard())) + 0.15


def test_every_objective_is_tried_here() -> None:
    tried = {Standard, Paper, SinglePass, Trades, Mart, Interval, GaussianNoise}
    tried |= {FGSMRS, NFGSM, GradAlign, Free, LogitPairing, MultiNorm, PGDTraining}
    tried |= {CrownIBP, SABR, MTLIBP, SmoothAdv, ARD, RSLAD, GeneratorPartner}
    assert {kind for kind in OBJECTIVES.values() if not issubclass(kind, Wrapper)} == tried
