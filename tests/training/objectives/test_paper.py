"""What `paper` makes of a batch, how it is labelled and weighed, and that its number makes it."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack, Problem
from tempering.core.engine import Engine
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.training.batches import BatchMaker
from tempering.training.objective import Batch
from tempering.training.objectives.paper import Paper
from tests.training.toys import (
    ENGINE,
    FLAG,
    OUTPUTS,
    THREAT,
    batch_of,
    dataset,
    mixture,
    network,
)
from tests.training.toys import maker as batch_maker

CLEAN, NOISY, ADVERSARIAL = range(3)


@dataclass(frozen=True)
class Shift(Attack):
    """An attack that leaves its mark: all pixels brighter by a share of eps."""

    name = "shift"
    norms = ("linf",)

    share: float

    def propose(self, _probe: Probe, problem: Problem) -> Tensor:
        return problem.x + self.share * problem.threat.eps


MARKS = [Shift(0.25), Shift(0.5), Shift(0.75), Shift(1.0)]
"""Four attacks whose samples can be told apart."""


@dataclass(frozen=True)
class Setup:
    """Batches, and the objective that perturbs them."""

    batches: BatchMaker
    objective: Paper


def maker(data: Dataset | None = None, mixed: Any = None, **changes: Any) -> Setup:
    return Setup(batch_maker(data, **changes), Paper(**dict(mixture(**(mixed or {})))))


def make(
    setup: Setup, step: int = 0, model: nn.Module | None = None, engine: Engine = ENGINE
) -> Batch:
    return batch_of(setup.batches, setup.objective, step, model, engine)


def change(setup: Setup, batch: Batch, step: int = 0) -> Tensor:
    """What was done to each pixel, shape (n, 9)."""
    batches = setup.batches
    at = step % batches.steps_per_epoch * batches.batch_size
    ids = batches.order(step // batches.steps_per_epoch)[at : at + batches.batch_size]
    assert torch.equal(batch.y, batches.data.y[ids])
    assert torch.equal(batch.x, batches.data.x[ids])
    return (batch.perturbed - batch.x).flatten(1)


def part(changed: Tensor) -> Tensor:
    """Nothing done: clean; the same to all pixels: a mark; else noise."""
    untouched = (changed == 0).all(1)
    marked = (changed - changed[:, :1]).abs().amax(1) < 1e-6
    return torch.where(untouched, CLEAN, torch.where(marked, ADVERSARIAL, NOISY))


@pytest.mark.parametrize("n", [3, 9, 10, 11, 47, 60])
def test_thirds_are_equal_to_one_sample(n: int) -> None:
    batches = maker(batch_size=n, mixed={"attacks": MARKS})
    kinds = part(change(batches, make(batches))).bincount(minlength=3)
    assert kinds.sum() == n
    assert kinds.max() - kinds.min() <= 1


@pytest.mark.parametrize("n", [1, 2, 5, 12, 33])
@pytest.mark.parametrize(
    "shares",
    [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5), (0.2, 0.1, 0.7)],
)
def test_parts_are_what_the_mixture_says(n: int, shares: tuple[float, float, float]) -> None:
    names = dict(zip(("clean", "noisy", "adversarial"), shares, strict=True))
    batches = maker(batch_size=n, mixed=dict(attacks=MARKS, **names))
    batch = make(batches)
    kinds = part(change(batches, batch)).bincount(minlength=3)
    assert int(kinds.sum()) == n
    for count, share in zip(kinds.tolist(), shares, strict=True):
        assert abs(count - n * share) <= 1
        assert share > 0 or count == 0
    assert float(batch.weights.sum()) == pytest.approx(1.0)


def test_weights_share_alpha_among_clean_and_noisy_and_the_rest_among_adversarial() -> None:
    batches = maker(mixed={"attacks": MARKS, "alpha": 0.3})
    batch = make(batches)
    adversarial = part(change(batches, batch)) == ADVERSARIAL
    assert float(batch.weights[adversarial].sum()) == pytest.approx(0.7)
    assert float(batch.weights[~adversarial].sum()) == pytest.approx(0.3)
    for rows in (adversarial, ~adversarial):
        assert len(batch.weights[rows].unique()) == 1


@pytest.mark.parametrize("n", [12, 24, 30, 57])
def test_attacks_share_the_adversarial_part_equally(n: int) -> None:
    batches = maker(batch_size=n, mixed={"attacks": MARKS})
    changed = change(batches, make(batches))
    shares = changed[part(changed) == ADVERSARIAL][:, 0] / THREAT.eps
    counts = (shares * 4).round().long().bincount(minlength=5)[1:]
    assert counts.sum() == len(shares)
    assert counts.max() - counts.min() <= 1


def test_the_share_of_the_adversarial_class_grows_with_the_perturbation() -> None:
    batches = maker(batch_size=60, mixed={"attacks": MARKS, "lam_max": 0.8})
    batch = make(batches)
    changed = change(batches, batch)
    rows = part(changed) == ADVERSARIAL
    lam = 0.8 * changed[rows][:, 0] / THREAT.eps
    assert len(lam.round(decimals=3).unique()) == 4
    targets, y = batch.targets[rows], batch.y[rows]
    torch.testing.assert_close(targets[:, FLAG], lam)
    torch.testing.assert_close(targets.gather(1, y[:, None])[:, 0], 1 - lam)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)))


@pytest.mark.parametrize("detecting", [True, False])
def test_without_lam_or_flag_adversarial_samples_keep_ordinary_labels(detecting: bool) -> None:
    flag = FLAG if detecting else None
    lam_max = 0.0 if detecting else 0.5
    batch = make(maker(mixed={"attacks": MARKS, "lam_max": lam_max}, flag=flag))
    assert torch.equal(batch.targets[:, FLAG], torch.zeros(12))
    torch.testing.assert_close(
        batch.targets.gather(1, batch.y[:, None])[:, 0], torch.full((12,), 0.95)
    )


def test_clean_and_noisy_labels_are_smoothed_over_the_classes_alone() -> None:
    batches = maker(mixed={"attacks": MARKS, "label_smoothing": 0.2})
    batch = make(batches)
    targets = batch.targets[part(change(batches, batch)) != ADVERSARIAL]
    assert targets.shape[1] == OUTPUTS
    ordered = targets.sort(dim=1, descending=True).values
    torch.testing.assert_close(ordered, torch.tensor([[0.9, 0.1, 0.0]]).expand(len(targets), 3))


def test_eps_grows_to_the_threats() -> None:
    batches = maker(mixed={"attacks": [Shift(1.0)], "eps_warmup_steps": 4})
    largest = []
    for step in range(6):
        changed = change(batches, make(batches, step), step)
        largest.append(float(changed[part(changed) == ADVERSARIAL].max()))
    expected = [THREAT.eps * share for share in (0.25, 0.5, 0.75, 1, 1, 1)]
    assert largest == pytest.approx(expected, abs=1e-6)


def test_noise_has_its_standard_deviation() -> None:
    data = dataset(600)
    shares = {"clean": 0.0, "noisy": 1.0, "adversarial": 0.0}
    batches = maker(data, batch_size=600, mixed=dict(sigma=0.05, **shares))
    noise = change(batches, make(batches))
    assert float(noise.std()) == pytest.approx(0.05, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.003)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    first, other = make(maker(), step=3), make(maker(), step=3)
    for name in ("x", "y", "targets", "weights", "x_adv"):
        assert torch.equal(getattr(first, name), getattr(other, name)), name
    assert not torch.equal(first.x, make(maker(seed=6), step=3).x)


def test_noise_and_attacks_are_fresh_at_every_step() -> None:
    # one batch an epoch, and an attack of one random step: only draws can differ
    shares = {"clean": 0.0, "noisy": 0.5, "adversarial": 0.5}
    batches = maker(batch_size=60, mixed=dict(attacks=["pgd:steps=1,step_size=1e-6"], **shares))
    order, model = batches.batches.order(0), network().eval()
    first, second = (
        batches.objective.perturb(batches.batches.make(step, order, 1.0, model, ENGINE))
        for step in (0, 1)
    )
    assert torch.equal(first.y, second.y)
    moved = (first.perturbed - second.perturbed).flatten(1).abs().amax(1)
    assert float(moved.min()) > 0


def test_attacks_are_made_against_the_current_weights() -> None:
    batches = maker()
    current, other = make(batches, model=network(0)), make(batches, model=network(1))
    same = (current.perturbed == other.perturbed).flatten(1).all(1)
    assert int((~same).sum()) > 0
    assert set(part(change(batches, current))[~same].tolist()) <= {NOISY, ADVERSARIAL}
    assert bool(same[:8].all())


def test_attacked_samples_stay_in_the_ball_and_fool_more() -> None:
    shares = {"clean": 0.0, "noisy": 0.0, "adversarial": 1.0}
    batches = maker(batch_size=60, mixed=dict(attacks=["pgd:steps=5"], **shares))
    batch, model = make(batches), network().eval()
    assert bool(THREAT.contains(batch.perturbed, batch.x).all())
    loss = nn.functional.cross_entropy
    with torch.no_grad():
        assert loss(model(batch.perturbed), batch.y) > loss(model(batch.x), batch.y)


def test_every_epoch_has_an_order_of_its_own() -> None:
    batches = maker()
    orders = [batches.batches.order(epoch) for epoch in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(60))
    assert not torch.equal(orders[0], orders[1])
    assert batches.batches.steps_per_epoch == 5
    ids = [change(batches, make(batches, step), step) for step in range(5)]
    assert len(torch.cat(ids)) == 60


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    batches = maker(batch_size=100)
    assert batches.batches.steps_per_epoch == 1
    assert len(make(batches, step=7).y) == 60


def test_augmentation_comes_first_and_draws_by_sample() -> None:
    def brighten(x: Tensor, streams: RandomStreams) -> Tensor:
        return x + 0.1 * streams.uniform((1, 1, 1))

    batches = maker(mixed={"attacks": MARKS}, augment=brighten)
    plain = maker(mixed={"attacks": MARKS})
    added = (make(batches).x - make(plain).x).flatten(1)
    torch.testing.assert_close(added, added[:, :1].expand_as(added), atol=1e-6, rtol=0)
    assert len(added[:, 0].round(decimals=4).unique()) > 9
    assert bool(((added > -1e-6) & (added < 0.1)).all())


def test_a_threat_of_nothing_gives_finite_labels() -> None:
    batch = make(maker(threat=Linf(0.0)))
    assert bool(batch.targets.isfinite().all())
    assert float(batch.targets[:, FLAG].max()) == 0.0


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_batch_of_one(processes: int) -> None:
    batches = maker()
    alone = make(batches)
    parts = []
    for rank in range(processes):
        fabric: Any = SimpleNamespace(
            device=torch.device("cpu"), global_rank=rank, world_size=processes
        )
        parts.append(make(batches, engine=Engine(fabric, "32-true")))
    assert sum(len(part.y) for part in parts) == 12
    assert sum(float(part.weights.sum()) for part in parts) == pytest.approx(1.0)
    for rank, part in enumerate(parts):
        rows = slice(rank, None, processes)
        assert torch.equal(part.y, alone.y[rows])
        assert torch.equal(part.weights, alone.weights[rows])
        kept = [row for row in range(len(part.y)) if rank + row * processes < 8]
        assert torch.equal(part.perturbed[kept], alone.perturbed[rows][kept])
        assert bool(THREAT.contains(part.perturbed, part.x)[len(kept) :].all())
