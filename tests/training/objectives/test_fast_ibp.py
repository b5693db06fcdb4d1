"""Curricula, IBP initialisation, the warm-up regulariser and bounds of batch normalisation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tempering.certification import certify
from tempering.core.errors import UsageError
from tempering.core.threats import TOLERANCE, Linf
from tempering.defenses import Pipeline, Threshold
from tempering.training import (
    CrownIBP,
    Curriculum,
    FastIBP,
    Interval,
    Standard,
    StepConfig,
    Trades,
    parse_objective,
    train_steps,
)
from tempering.training.backward_bounds import crown_worst_logits
from tempering.training.interval_bounds import boxes_seen, worst_logits
from tempering.training.objectives.fast_ibp import balance, tightness
from tests.training.toys import ENGINE, batch_of, dataset, maker, same


def normed(*, width: int = 4) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(9 * width, 8),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Linear(8, 3),
        )


def images(n: int = 20) -> torch.Tensor:
    return torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bound", [worst_logits, crown_worst_logits])
def test_a_box_of_radius_zero_has_the_logits_of_training_mode(bound) -> None:  # type: ignore[no-untyped-def]
    model, x = normed().train(), images()
    y = torch.arange(20) % 3
    logits = model(x)
    gaps = logits - logits.gather(1, y[:, None])
    torch.testing.assert_close(bound(model, x, y, 0.0), gaps, atol=1e-4, rtol=1e-4)


def test_running_statistics_give_the_bounds_that_certify_proves() -> None:
    model, x = normed(), images()
    model(x)
    model.eval()
    y, eps = model(x).argmax(1), 0.01
    worst = worst_logits(model, x, y, eps + TOLERANCE).scatter(1, y[:, None], -torch.inf)
    proof = certify(model, x, y, Linf(eps), methods=("interval",))
    torch.testing.assert_close(-worst.amax(1).double(), proof.margin, atol=1e-3, rtol=0)


def boxes(model: nn.Module, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    with boxes_seen() as seen:
        worst_logits(model, x, torch.zeros(len(x)).long(), 0.1)
    return seen.before_activations


@torch.no_grad()
def test_boxes_are_measured_against_those_behind_the_transforms() -> None:
    model = Pipeline(normed(), [Threshold(0.5)], classes=3).eval()
    x = images()
    with boxes_seen() as seen:
        worst_logits(model, x, torch.zeros(len(x)).long(), 0.1)
    assert seen.given is not None
    assert torch.equal(seen.given[0], (x - 0.1 > 0.5).float())
    assert torch.equal(seen.given[1], (x + 0.1 > 0.5).float())


@torch.no_grad()
def test_initialised_boxes_grow_by_no_factor() -> None:
    layers = [layer for _ in range(6) for layer in (nn.Linear(200, 200), nn.ReLU())]
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 200), nn.ReLU(), *layers, nn.Linear(200, 3))
    x = 0.5 + 0 * images(4)
    plain = boxes(model, x)
    FastIBP().initialise(model, 3)
    drawn = boxes(model, x)

    def growth(boxes: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
        return float((boxes[-1][1] - boxes[-1][0]).mean() / (boxes[0][1] - boxes[0][0]).mean())

    assert growth(plain) > 100
    assert 0.2 < growth(drawn) < 5
    assert float(model[3].weight.std()) == pytest.approx(math.sqrt(2 * math.pi) / 200, rel=0.05)


def test_training_begins_from_drawn_weights_once() -> None:
    model, objective = normed(), FastIBP(Interval(ramp_end=1.0))
    config = StepConfig(Linf(0.1), batch_size=12, seed=3, total_steps=6)
    given = {"config": config, "engine": ENGINE}
    none = train_steps(model, dataset(), objective, 0, **given)  # type: ignore[arg-type]
    objective.initialise(model, 3)
    assert same(none.weights, dict(model.state_dict()))
    whole = train_steps(normed(), dataset(), objective, 6, **given)  # type: ignore[arg-type]
    part = train_steps(normed(), dataset(), objective, 2, **given)  # type: ignore[arg-type]
    again = train_steps(normed(), dataset(), objective, 4, part, **given)  # type: ignore[arg-type]
    assert same(again.weights, whole.weights)


def test_the_regulariser_is_that_of_boxes_known_by_hand() -> None:
    given = (torch.zeros(1, 2), torch.full((1, 2), 0.2))
    wide = (torch.tensor([[-1.0, 1.0]]), torch.tensor([[-0.2, 1.8]]))  # widths of 0.8
    same_width = (torch.tensor([[0.1, 0.1]]), torch.tensor([[0.3, 0.3]]))
    # 0.2 / 0.8 = 1/4 is half of the tolerance; 0.2 / 0.2 is above it
    assert float(tightness(given, [wide])) == pytest.approx(0.5)
    assert float(tightness(given, [wide, same_width])) == pytest.approx(0.25)
    # centers 1.4 of the active and -0.6 of the dead number
    assert float(balance([wide])) == pytest.approx((0.5 - 0.6 / 1.4) / 0.5)
    assert float(balance([same_width])) == pytest.approx(1.0)


def test_it_weighs_less_as_eps_grows_and_ends_with_the_ramp() -> None:
    model, inner = normed().eval(), Interval(ramp_start=0.0, ramp_end=0.8)
    objective = FastIBP(inner, lam=2.0)
    for step, weight in ((20, 0.75), (60, 0.25), (80, 0.0)):
        made = batch_of(maker(flag=None), inner, step, model)
        losses, own = objective(model, made), inner(model, made).per_sample
        term = losses.scalars.get("warmup_regulariser", torch.zeros(()))
        torch.testing.assert_close(losses.per_sample, own + 2 * weight * term)


def test_curricula_are_closed_forms_and_never_fall() -> None:
    assert [Curriculum(start=0.2, end=0.6).ramp(step, 10) for step in (2, 4, 6)] == pytest.approx(
        [0.0, 0.5, 1.0]
    )
    assert Curriculum(low=0.4).ramp(0, 10) == pytest.approx(0.4)
    assert Curriculum(shape="cosine", end=1.0).ramp(25, 100) == pytest.approx(
        (1 - math.cos(math.pi / 4)) / 2
    )
    for shape in ("linear", "smooth", "cosine"):
        values = [Curriculum(shape=shape, end=1.0).ramp(step, 100) for step in range(101)]
        assert values[0] == 0.0
        assert values[-1] == pytest.approx(1.0)
        assert values == sorted(values)
    smooth = Curriculum(shape="smooth", end=1.0)
    assert smooth.ramp(20, 100) / smooth.ramp(10, 100) == pytest.approx(16)  # quartic
    late = [smooth.ramp(step, 100) for step in (40, 60, 80)]
    assert late[1] - late[0] == pytest.approx(late[2] - late[1])  # a line


def test_a_curriculum_gives_any_objective_its_eps_and_leaves_kappa() -> None:
    objective = Curriculum(Trades(steps=2), end=0.5)
    made = batch_of(maker(), objective, 25)
    assert made.threat.eps == pytest.approx(0.1)
    wide = Curriculum(Interval(kappa=0.0, ramp_start=0.0, ramp_end=1.0), end=0.1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    made = batch_of(maker(flag=None), wide, 50, model)
    clean = nn.functional.cross_entropy(model(made.x), made.y, reduction="none")
    bounds = worst_logits(model, made.x, made.y, 0.2)
    worst = nn.functional.cross_entropy(bounds, made.y, reduction="none")
    torch.testing.assert_close(wide(model, made).per_sample, 0.5 * clean + 0.5 * worst)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fast-ibp+trades", "fast-ibp does not wrap trades, which bounds no boxes: wrap interval"),
        ("fast-ibp+curriculum+trades", "fast-ibp does not wrap trades"),
        ("fast-ibp:lam=-1+interval", "fast-ibp: lam = -1: give a number of at least 0"),
        ("curriculum:end=1.2+trades", "curriculum: end = 1.2, a share of the training"),
        ("curriculum:low=2+trades", "curriculum: low = 2: give a number from 0 to 1"),
        ("curriculum:shape=step+trades", "shape = 'step': give one of linear, smooth, cosine"),
    ],
)
def test_impossible_parameters_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_objective(text)
    assert "\n" not in str(caught.value)


def test_wrappers_of_boxes_are_written_and_read() -> None:
    for objective in (FastIBP(CrownIBP()), Curriculum(FastIBP(Interval()), shape="smooth")):
        assert parse_objective(objective.spec()) == objective
    assert Standard().initialise(normed(), 0) is None
