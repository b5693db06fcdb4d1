"""The losses of TRADES, MART and interval training against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.certification import certify
from tempering.core.errors import ModelError, TemperingError, ThreatError, UsageError
from tempering.core.threats import L0, L2, TOLERANCE, Linf, Threat
from tempering.training.interval_bounds import certified, worst_logits
from tempering.training.objective import Batch
from tempering.training.objectives.gaussian_noise import GaussianNoise
from tempering.training.objectives.interval import Interval
from tempering.training.objectives.mart import Mart, boosted_cross_entropy
from tempering.training.objectives.single_pass import SinglePass
from tempering.training.objectives.standard import Standard
from tempering.training.objectives.trades import Trades, divergence
from tests.training.toys import ENGINE, batch_of, maker, network


class Table(nn.Module):
    """A model that answers images with given logits: clean ones first, then adversarial ones."""

    def __init__(self, *logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[: len(x)]


def batch(y: list[int], outputs: int) -> Batch:
    labels = torch.tensor(y)
    order = torch.arange(60)
    made = maker(outputs=outputs, flag=None).make(0, order, 1.0, None, ENGINE)
    rows = torch.arange(len(y))
    return replace(
        made,
        x=made.x[rows],
        y=labels,
        targets=F.one_hot(labels, outputs).float(),
        weights=torch.full((len(y),), 1 / len(y)),
        x_adv=made.x[rows],
    )


def test_trades_is_cross_entropy_and_beta_times_the_divergence() -> None:
    # p = (1/2, 1/4, 1/4) on the clean image, q = (1/4, 1/4, 1/2) on the adversarial one
    log2, log4 = math.log(2), math.log(4)
    model = Table([-log2, -log4, -log4], [-log4, -log4, -log2])
    losses = Trades(beta=6)(model, batch([0], 3))
    kl = 0.5 * math.log(2) + 0.25 * math.log(1) + 0.25 * math.log(0.5)
    assert float(losses.per_sample[0]) == pytest.approx(log2 + 6 * kl)
    assert float(losses.scalars["kl"]) == pytest.approx(kl)
    assert float(Trades(beta=0)(model, batch([0], 3)).per_sample[0]) == pytest.approx(log2)


def test_the_divergence_of_equal_logits_is_zero_and_does_not_depend_on_their_level() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(divergence(logits, logits + 3.0), torch.zeros(5), atol=1e-6, rtol=0)
    assert bool((divergence(logits, logits.flip(1)) > 0).all())


def test_mart_is_boosted_cross_entropy_and_a_divergence_weighed_by_doubt() -> None:
    log2, log4 = math.log(2), math.log(4)
    model = Table([-log2, -log4, -log4], [-log4, -log4, -log2])
    losses = Mart(lam=5)(model, batch([0], 3))
    boosted = -math.log(0.25) - math.log(1 - 0.5)
    kl = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert float(losses.per_sample[0]) == pytest.approx(boosted + 5 * kl * (1 - 0.5))


def test_boosted_cross_entropy_is_finite_where_probabilities_saturate() -> None:
    logits = torch.tensor([[200.0, -200.0, 0.0], [0.0, 300.0, 0.0]], requires_grad=True)
    loss = boosted_cross_entropy(logits, torch.tensor([1, 0]))
    torch.testing.assert_close(loss, torch.tensor([400.0 + 200.0, 300.0 + 300.0 - math.log(2)]))
    loss.sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_two_classes_have_a_boosted_loss_too() -> None:
    logits = torch.tensor([[1.0, -1.0]])
    p = torch.softmax(logits, 1)[0]
    loss = boosted_cross_entropy(logits, torch.tensor([0]))
    torch.testing.assert_close(loss[0], -p[0].log() - (1 - p[1]).log())


@pytest.mark.parametrize("threat", [Linf(0.2), L2(0.5)])
def test_the_inner_maximization_of_trades_stays_in_the_ball_and_climbs(threat: Threat) -> None:
    model = network().eval()
    made = batch_of(maker(threat=threat, batch_size=40), Trades(steps=10), model=model)
    assert bool(threat.contains(made.perturbed, made.x).all())
    noise = threat.sample(made.x, made.streams)
    with torch.no_grad():
        clean = model(made.x)
        reached = divergence(clean, model(made.perturbed))
        by_chance = divergence(clean, model(noise))
    assert float(reached.mean()) > 2 * float(by_chance.mean())
    assert bool((reached >= by_chance).float().mean() > 0.9)


def test_a_ramp_gives_the_inner_maximization_its_share_of_eps() -> None:
    objective = Trades(steps=3, eps_warmup_steps=4)
    for step, share in ((0, 0.25), (1, 0.5), (5, 1.0)):
        made = batch_of(maker(), objective, step)
        assert made.threat.eps == pytest.approx(0.2 * share)
        moved = made.full_threat.distance(made.perturbed, made.x)
        assert float(moved.max()) == pytest.approx(0.2 * share, abs=1e-5)


def test_noise_has_its_standard_deviation_and_is_not_clipped() -> None:
    made = batch_of(maker(batch_size=60), GaussianNoise(0.5))
    noise = made.perturbed - made.x
    assert float(noise.std()) == pytest.approx(0.5, rel=0.1)
    assert float(made.perturbed.min()) < 0 < 1 < float(made.perturbed.max())


@torch.no_grad()
def test_bounds_of_a_linear_model_are_exact() -> None:
    layer = nn.Linear(9, 3)
    model = nn.Sequential(nn.Flatten(), layer)
    x, y, eps = 0.3 + 0.4 * torch.rand(5, 1, 3, 3), torch.tensor([0, 1, 2, 0, 1]), 0.1
    worst = worst_logits(model, x, y, eps)
    for row in range(5):
        for k in range(3):
            difference = layer.weight[k] - layer.weight[y[row]]
            exact = model(x)[row, k] - model(x)[row, y[row]] + eps * difference.abs().sum()
            assert float(worst[row, k]) == pytest.approx(float(exact), abs=1e-5)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)])
def test_bounds_are_those_that_certify_proves(pool: nn.Module) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(64, 5)
    ).eval()
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y, eps = model(x).argmax(1), 0.01
    worst = worst_logits(model, x, y, eps + TOLERANCE).scatter(1, y[:, None], -torch.inf)
    proof = certify(model, x, y, Linf(eps), methods=("interval",))
    torch.testing.assert_close(-worst.amax(1).double(), proof.margin, atol=1e-3, rtol=0)
    assert torch.equal(certified(model, x, y, eps + TOLERANCE), -worst.amax(1) > 0)


def test_interval_training_begins_clean_and_ends_with_both_losses() -> None:
    model, objective = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), Interval(0.25, 0.1, 0.5)
    for step, grown in ((0, 0.0), (10, 0.0), (30, 0.5), (50, 1.0), (99, 1.0)):
        made = batch_of(maker(flag=None), objective, step)
        assert objective.ramp(step, 100) == pytest.approx(grown)
        clean = F.cross_entropy(model(made.x), made.y, reduction="none")
        worst = worst_logits(model, made.x, made.y, 0.2 * grown)
        hard = F.cross_entropy(worst, made.y, reduction="none")
        kappa = 1 - grown * 0.75
        expected = kappa * clean + (1 - kappa) * hard
        torch.testing.assert_close(objective(model, made).per_sample, expected)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.GELU(), r"for 1 \(GELU\)"),
        (nn.LayerNorm(9), r"for 1 \(LayerNorm\)"),
        (nn.Sequential(nn.Linear(9, 9), nn.SiLU()), r"for 1\.1 \(SiLU\)"),
    ],
)
def test_a_layer_without_interval_bounds_is_named(layer: nn.Module, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        Interval().require_model(nn.Sequential(nn.Flatten(), layer, nn.Linear(9, 3)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trades(beta=-1), "trades: beta = -1: give a number of at least 0"),
        (lambda: Trades(beta=math.nan), "trades: beta = nan"),
        (lambda: Trades(beta=math.inf), "trades: beta = inf: give a finite number"),
        (lambda: Trades(steps=0), "trades: steps = 0: give a whole number of at least 1"),
        (lambda: Mart(lam=-1), "mart: lam = -1"),
        (lambda: Mart(steps=0), "pgd: steps = 0"),
        (lambda: Interval(kappa=2), "interval: kappa = 2: give a number from 0 to 1"),
        (lambda: Interval(ramp_start=0.5, ramp_end=0.4), "interval: ramp_end = 0.4"),
        (lambda: Interval(ramp_end=1.5), "interval: ramp_end = 1.5, a share of the training"),
        (lambda: GaussianNoise(-0.1), "gaussian-noise: sigma = -0.1"),
        (lambda: Standard(1.0), "standard: label_smoothing = 1"),
        (lambda: SinglePass(()), "single-pass: no attacks"),
    ],
)
def test_impossible_parameters_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_what_an_objective_cannot_work_with_is_refused() -> None:
    with pytest.raises(ThreatError, match="trades does not train against l0:3: it knows linf"):
        Trades().require(L0(3), 10)
    with pytest.raises(ThreatError, match="interval does not train against l2:1: it knows linf"):
        Interval().require(L2(1.0), 10)
    message = "eps_warmup_steps = 11 in a training of 10 steps: give at most 10"
    for objective in (Trades(eps_warmup_steps=11), Mart(eps_warmup_steps=11)):
        with pytest.raises(UsageError, match=message):
            objective.require(Linf(0.1), 10)
        objective.require(Linf(0.1), 11)


def test_single_pass_without_its_copies_is_refused() -> None:
    made = batch_of(maker(), SinglePass())
    with pytest.raises(UsageError, match="call prepare first"):
        SinglePass()(network(), made)
    with pytest.raises(UsageError, match="attacks the undefended model once: give one"):
        SinglePass().prepare(maker().data, None, Linf(0.1), 0)


def test_an_objective_that_attacks_must_say_so() -> None:
    made = maker().make(0, torch.arange(60), 1.0, None, ENGINE)
    with pytest.raises(TemperingError, match="declares inner_maximization = 'none'"):
        _ = made.model
