"""Counts under corruptions: what a model says of each image, counted in whole numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from tempering.core.corruption_records import CorruptionResult
from tempering.core.errors import ModelError, UnknownNameError, UsageError
from tempering.core.passes import counted
from tempering.core.progress import Advance, reporting
from tempering.core.random import RandomStreams, derive
from tempering.evaluation import CORRUPTIONS, measure_corruptions
from tests.evaluation.toys import cloud, context, dataset, linear, target

DATA = cloud(60, wrong=5)


class Bright(nn.Module):
    """Class 1 where an image is brighter than a level."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.register_buffer("level", torch.tensor(level))

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1).mean(1) - self.level
        return torch.stack([torch.zeros_like(score), score], 1)


def test_counts_are_those_of_the_closed_form() -> None:
    """Grey images, one a level: brightness moves each of them over the border when it should."""
    levels = torch.linspace(0.02, 0.5, 25)
    data = dataset(levels[:, None, None, None].expand(25, 1, 9, 9).clone(), torch.zeros(25).long())
    records = measure_corruptions(
        context(data), target(Bright(0.5), data), ["brightness", "contrast"]
    )
    assert (records[0].clean.hits, records[0].clean.n) == (25, 25)
    for record in records:
        added = record.amount if record.corruption == "brightness" else 0.0
        below = int((levels + added <= 0.5 + 1e-6).sum())
        assert (record.correct.hits, record.correct.n) == (below, 25), record
    assert len({record.correct.hits for record in records}) == 6


def test_counts_are_those_of_running_the_model_by_hand() -> None:
    model = linear()
    records = measure_corruptions(context(DATA, seed=3), target(model, DATA), severities=[2, 5])
    assert records[0].clean.hits == 55
    streams = RandomStreams(derive(3, "evaluation", "corruptions"), DATA.ids.keys)
    assert [(record.corruption, record.severity) for record in records] == [
        (name, severity) for name in CORRUPTIONS for severity in (2, 5)
    ]
    for record in records:
        kind = CORRUPTIONS[record.corruption]
        with torch.no_grad():
            predicted = model(kind(DATA.x, record.severity, streams)).argmax(1)
        assert record.correct.hits == int((predicted == DATA.y).sum())
        assert (record.amount, record.unit) == (kind.amount(record.severity), kind.unit)
    assert len({record.correct.hits for record in records}) > 3


def _counts(results: list[CorruptionResult]) -> list[int]:
    return [result.correct.hits for result in results]


def test_batches_change_nothing_and_seeds_do() -> None:
    judged = target(linear(), DATA)
    whole = _counts(measure_corruptions(context(DATA, batch_size=100), judged))
    assert _counts(measure_corruptions(context(DATA, batch_size=7), judged)) == whole
    assert _counts(measure_corruptions(context(DATA, seed=1), judged)) != whole


def test_passes_and_progress_are_counted() -> None:
    said: list[tuple[str, int, int]] = []

    @contextmanager
    def reporter(what: str, total: int) -> Iterator[Advance]:
        yield lambda done, _note: said.append((what, total, done))

    judged = target(linear(), DATA)
    with counted() as passes, reporting(reporter):
        records = measure_corruptions(context(DATA, batch_size=40), judged, ["noise", "jpeg"])
    assert passes.forward == records[0].cost.forward == 60 * (1 + 2 * 5)
    assert records[0].cost.backward == sum(result.cost.forward for result in records[1:]) == 0
    assert said == [("given: common corruptions", 60, done) for done in (40, 60)]


def test_bad_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    here, judged = context(DATA), target(linear(), DATA)
    with pytest.raises(UnknownNameError, match="unknown corruption 'fog'"):
        measure_corruptions(here, judged, ["fog"])
    with pytest.raises(UsageError, match="noise: severity 0: give one of 1 to 5"):
        measure_corruptions(here, judged, ["noise"], [0])
    with pytest.raises(UsageError, match="0 corruptions at 5 severities: give at least one"):
        measure_corruptions(here, judged, [])
    monkeypatch.setitem(sys.modules, "kornia.geometry", None)
    with counted() as passes, pytest.raises(UsageError, match="corruption 'rotation' needs"):
        measure_corruptions(here, judged, ["noise", "rotation"])
    assert passes.forward == 0, "it is said before anything is run"


def test_a_model_that_fails_under_noise_is_named() -> None:
    class Refusing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return linear()(x) / (x.flatten(1).amax(1, keepdim=True) < 0.99)

    data = dataset(torch.full((4, 1, 3, 3), 0.7), torch.zeros(4).long())
    with pytest.raises(ModelError, match="not finite"):
        measure_corruptions(context(data), target(Refusing(), data), ["brightness"])
