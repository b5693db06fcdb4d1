"""Averages of weights, statistics measured anew, and gradients of several batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tempering.core.errors import UsageError
from tempering.training import EMA, SGD, SWA, Free, Standard, StepConfig, Trades, train_steps
from tempering.training.batch_statistics import measure_batch_statistics
from tempering.training.loop import train
from tempering.training.state import trained_weights
from tests.training.toys import ENGINE, THREAT, Script, dataset, job, network, plan, same


def normed() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
        )


def test_swa_is_the_mean_of_the_weights_after_its_start() -> None:
    config = StepConfig(THREAT, batch_size=12, seed=3, total_steps=10, averaging=SWA(0.5, 2))
    states = [
        train_steps(network(), dataset(), Standard(), count, config=config, engine=ENGINE)
        for count in range(1, 11)
    ]
    for name, average in states[-1].average.items():
        kept = [states[step - 1].weights[name] for step in (5, 7, 9)]
        torch.testing.assert_close(average, torch.stack(kept).mean(0))
    assert same(states[3].average, states[3].weights)


def test_an_average_starts_with_the_weights_themselves() -> None:
    assert [SWA(0.0).keeps(step, 10) for step in (0, 1)] == [0.0, 0.5]
    assert [SWA(0.2, 3).keeps(step, 10) for step in (1, 2, 3, 4, 5)] == [0.0, 0.0, 1.0, 1.0, 0.5]
    assert EMA(0.9).keeps(1, 100) == pytest.approx(2 / 11)


def test_statistics_are_plain_means_over_the_batches() -> None:
    model = normed()
    batches = list(dataset().images(torch.arange(60)).split(20))
    measure_batch_statistics(model, batches)
    inner = [model[1](batch.flatten(1)) for batch in batches]
    expected = torch.stack([values.mean(0) for values in inner]).mean(0)
    torch.testing.assert_close(model[2].running_mean, expected)
    assert model[2].momentum == 0.1
    assert not model[2].training


def test_what_is_judged_and_kept_has_statistics_of_the_averaged_weights(tmp_path: Path) -> None:
    script, model = Script(worst=[3, 7]), normed()
    config = plan(steps=8, objective="standard", averaging=0.0, swa_start=0.25)
    begun = job(tmp_path, config, script)
    train(model, begun, ENGINE)
    assert same(dict(model.state_dict()), script.seen[1])
    again = normed()
    again.load_state_dict(model.state_dict())
    batches = [dataset().images(rows) for rows in _rows(begun.update.seed)]
    measure_batch_statistics(again, batches)
    torch.testing.assert_close(again[2].running_mean, model[2].running_mean)
    alone = normed()
    train(alone, job(tmp_path / "alone", config), ENGINE)
    assert same(dict(alone.state_dict()), dict(model.state_dict()))
    kept = trained_weights(tmp_path / "alone" / "hardened.safetensors")
    assert same(kept, dict(alone.state_dict()))


def _rows(seed: int) -> list[torch.Tensor]:
    from tests.training.toys import maker

    return list(maker(seed=seed).order(0)[:60].split(12))


def test_two_batches_of_six_are_one_of_twelve() -> None:
    config = StepConfig(
        THREAT, batch_size=12, seed=3, optimizer=SGD(0.1, momentum=0), total_steps=4
    )
    halves = replace(config, batch_size=6, accumulation=2)
    model = network()
    model[3] = nn.Identity()  # dropout draws by batch
    for objective in (Standard(), Trades(steps=2)):
        whole, parts = (
            train_steps(model, dataset(), objective, 4, config=given, engine=ENGINE)
            for given in (config, halves)
        )
        for name, weight in whole.weights.items():
            torch.testing.assert_close(parts.weights[name], weight)
        assert parts.totals.seen == whole.totals.seen == 48
        assert parts.totals.mean_loss == pytest.approx(whole.totals.mean_loss, rel=1e-4)


def test_accumulated_steps_go_on_where_they_stopped() -> None:
    config = StepConfig(THREAT, batch_size=6, seed=3, total_steps=6, accumulation=3)
    for objective in (Trades(steps=1), Free(m=1)):
        whole, part = (
            train_steps(network(), dataset(), objective, count, config=config, engine=ENGINE)
            for count in (6, 2)
        )
        again = train_steps(network(), dataset(), objective, 4, part, config=config, engine=ENGINE)
        assert same(again.weights, whole.weights)


def test_impossible_averages_are_refused() -> None:
    with pytest.raises(UsageError, match=r"swa: start = 1: give a number in \[0, 1\)"):
        SWA(1.0)
    with pytest.raises(UsageError, match="swa: every = 0: give a whole number"):
        SWA(0.5, 0)
    with pytest.raises(UsageError, match="accumulation 0: give at least 1"):
        StepConfig(THREAT, accumulation=0)
    config, data = StepConfig(THREAT, batch_size=8, accumulation=1000), dataset()
    with pytest.raises(UsageError, match=f"takes 8000 images a step, and there are {len(data)} "):
        train_steps(network(), data, Standard(), 1, config=config, engine=ENGINE)
    with pytest.raises(ValidationError, match=r"swa_start = 0.5 beside averaging = 0.9: set"):
        plan(averaging=0.9, swa_start=0.5)
