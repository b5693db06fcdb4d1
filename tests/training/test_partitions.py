"""Deep partition aggregation: parts train on their own samples, and the bound holds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tempering.certification import poisons_withstood
from tempering.core.errors import ModelError, UsageError
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.data.ids import SampleIds
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.evaluation import certify_poisoning
from tempering.models import Manifest, build, save
from tempering.models import load as load_model
from tempering.models.voting import Voting
from tempering.report import markdown, poison_table
from tempering.training import SGD, SinglePass, StepConfig, Trades, train_partitions
from tempering.training.partitions import part_of
from tests.training.toys import ENGINE, same

PARTS = 11
CONFIG = StepConfig(Linf(0.1), batch_size=16, seed=2, optimizer=SGD(0.5))


@cache
def digits() -> Splits:
    return load("digits", "official", 0)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 10))


def voting(data: Dataset) -> Voting:
    return train_partitions(network(), data, PARTS, 12, config=CONFIG, engine=ENGINE)


@cache
def clean() -> Voting:
    return voting(digits().train)


def changed(other: Voting) -> list[int]:
    """Numbers of the networks that differ from those of clean data."""
    pairs = zip(clean().members, other.members, strict=True)
    return [
        number
        for number, (before, after) in enumerate(pairs)
        if not same(dict(before.state_dict()), dict(after.state_dict()))
    ]


def joined(data: Dataset, x: Tensor, y: Tensor) -> Dataset:
    """The data with more samples in front, and all ids anew."""
    pixels = torch.cat([x, data.x])
    ids = SampleIds.rows(len(pixels), "new/")
    return replace(data, pixels=pixels, y=torch.cat([y, data.y]), ids=ids)


def test_a_part_depends_on_its_own_samples_alone() -> None:
    train = digits().train
    where = part_of(train, PARTS, CONFIG.seed)
    inserted = joined(train, 1 - train.x[:1], train.y[:1])
    assert changed(voting(inserted)) == [int(part_of(inserted, PARTS, CONFIG.seed)[0])]
    removed = train.subset(torch.arange(1, len(train)))
    assert changed(voting(removed)) == [int(where[0])]
    flipped = train.y.clone()
    flipped[3] = (flipped[3] + 1) % 10
    assert changed(voting(replace(train, y=flipped))) == [int(where[3])]


def test_neither_order_nor_ids_nor_the_type_of_pixels_count() -> None:
    order = torch.randperm(len(digits().train), generator=torch.Generator().manual_seed(1))
    shuffled = digits().train.subset(order)
    anew = replace(shuffled, pixels=shuffled.x, ids=SampleIds.rows(len(order), "other/"))
    assert changed(voting(anew)) == []
    doubled = joined(digits().train, digits().train.x[:2], digits().train.y[:2])
    where = part_of(digits().train, PARTS, CONFIG.seed)
    assert changed(voting(doubled)) == sorted({int(where[0]), int(where[1])})


def poisoned(how: str, count: int) -> Dataset:
    train = digits().train
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(count))[:count]
    match how:
        case "flips":
            y = train.y.clone()
            y[rows] = (y[rows] + 1) % 10
            return replace(train, y=y)
        case "deletions":
            mask = torch.ones(len(train), dtype=torch.bool)
            mask[rows] = False
            return train.keep(mask)
        case _:  # as extreme as they can be, so that they swing what they are trained into
            noise = torch.rand(count, *train.shape, generator=torch.Generator().manual_seed(7))
            return joined(train, noise.round(), torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("how", ["flips", "deletions", "insertions"])
@pytest.mark.parametrize("count", [1, 3])
def test_no_poisons_within_the_bound_change_a_prediction(how: str, count: int) -> None:
    x = digits().test.x
    withstood = poisons_withstood(clean().votes(x))
    other = voting(poisoned(how, count))
    assert 1 <= len(changed(other)) <= count
    kept = other(x).argmax(1) == clean()(x).argmax(1)
    safe = withstood >= count
    assert 20 < int(safe.sum()) < len(x)
    assert bool(kept[safe].all())


def test_the_record_counts_what_is_right_and_certified() -> None:
    test = digits().test
    record = certify_poisoning(clean(), test)
    right = clean()(test.x).argmax(1) == test.y
    withstood = poisons_withstood(clean().votes(test.x))
    assert record.within[0].hits == int(right.sum()) > 0.7 * len(test)
    assert record.within[2].hits == int((right & (withstood >= 2)).sum()) > 0
    assert record.within[-1].hits == 0
    assert (record.parts, record.n) == (PARTS, len(test))
    shown = markdown.table(poison_table(record))
    assert f"| 2 | {record.within[2]} |" in shown.replace("\\", "")
    with pytest.raises(ModelError, match="a Sequential has no certificate against poisons"):
        certify_poisoning(network(), test)


def test_a_vote_is_saved_and_loaded_by_its_manifest(tmp_path: Path) -> None:
    net = build(
        *("strided_cnn", (1, 8, 8), 10),
        **{"width": 2, "hidden": 4, "squeeze": None, "adversarial_class": False},
    )
    made = train_partitions(net, digits().train, 3, 2, config=CONFIG, engine=ENGINE)
    manifest = Manifest(
        architecture=made.architecture,
        classes=list(digits().train.classes),
        shape=(1, 8, 8),
        threat="linf:0.1",
        data="digits",
        data_hash="",
        split="official",
        seed=2,
    )
    save(made, tmp_path, manifest)
    again = load_model(tmp_path).model
    x = digits().test.x[:20]
    assert torch.equal(again(x), made(x))
    assert isinstance(again, Voting)


def test_votes_decide_and_attacks_have_a_gradient() -> None:
    x = digits().test.x[:30].clone().requires_grad_()
    logits = clean()(x)
    votes = clean().votes(x)
    assert torch.equal(logits.round().long(), votes)
    logits.sum(0)[0].backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0


def test_more_parts_than_samples_leave_networks_as_they_were() -> None:
    few = digits().train.first(3)
    made = train_partitions(network(), few, 20, 2, config=CONFIG, engine=ENGINE)
    start = dict(network().state_dict())
    assert sum(same(dict(member.state_dict()), start) for member in made.members) >= 17


def test_a_robust_objective_trains_the_parts() -> None:
    made = train_partitions(
        network(), digits().train, 2, 2, config=CONFIG, objective=Trades(steps=1), engine=ENGINE
    )
    plain = train_partitions(network(), digits().train, 2, 2, config=CONFIG, engine=ENGINE)
    assert not same(dict(made.state_dict()), dict(plain.state_dict()))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="0 parts of 2 steps: give at least 1 of each"):
        train_partitions(network(), digits().train, 0, 2, config=CONFIG)
    with pytest.raises(UsageError, match="single-pass needs a trained model"):
        train_partitions(network(), digits().train, 2, 2, config=CONFIG, objective=SinglePass())
    with pytest.raises(ModelError, match="a vote without members"):
        Voting([], (1, 8, 8), 10)
