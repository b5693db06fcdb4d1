from __future__ import annotations

import pytest
import torch

from tempering.core.random import sample_keys
from tempering.data.stratify import stratified, stratified_order


def labels(*sizes: int) -> torch.Tensor:
    return torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)])


@pytest.mark.parametrize("count", [0, 1, 7, 20, 60, 97])
def test_it_divides_everything_once(count: int) -> None:
    y = labels(50, 30, 20)
    rest, part = stratified(y, count, seed=1)
    assert len(part) == count
    assert sorted(torch.cat([rest, part]).tolist()) == list(range(100))


@pytest.mark.parametrize("count", [7, 20, 33, 61])
def test_each_class_gives_its_share_to_within_one(count: int) -> None:
    sizes = torch.tensor([51, 29, 17, 3])
    _, part = stratified(labels(51, 29, 17, 3), count, seed=3)
    given = torch.bincount(labels(51, 29, 17, 3)[part], minlength=4)
    assert bool(((given - sizes * count / 100).abs() < 1).all())


def test_the_seed_decides() -> None:
    y = labels(40, 40)
    first, again, other = (stratified(y, 10, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again
    assert set(first) != set(other)


def test_parts_are_mixed_so_that_their_first_samples_stand_for_all() -> None:
    y = labels(500, 500)
    for ids in stratified(y, 200, seed=0):
        share = y[ids[:100]].float().mean()
        assert 0.3 < share < 0.7


def test_no_class_gives_its_last_sample() -> None:
    y = labels(1, 1, 8)
    rest, part = stratified(y, 9, seed=0)
    assert y[rest].unique().tolist() == [0, 1, 2]
    assert y[part].tolist() == [2] * 7


def test_classes_without_samples_do_no_harm() -> None:
    y = torch.tensor([0, 0, 5, 5])
    rest, part = stratified(y, 2, seed=0)
    assert sorted(y[rest].tolist()) == sorted(y[part].tolist()) == [0, 5]


def test_every_prefix_has_the_shares_of_the_classes() -> None:
    y = torch.arange(10).repeat_interleave(torch.tensor([90, 10] + [25] * 8))
    keys = sample_keys([f"row/{row}" for row in range(len(y))])
    order = stratified_order(y, keys, seed=0)
    assert sorted(order.tolist()) == list(range(len(y)))
    for n in (30, 100, 250):
        counts = torch.bincount(y[order[:n]], minlength=10)
        wanted = torch.bincount(y).double() * n / len(y)
        assert bool(((counts - wanted).abs() <= 1).all())


def test_the_order_depends_on_ids_and_not_on_rows() -> None:
    y = torch.arange(60) % 3
    names = [f"row/{row}" for row in range(60)]
    chosen = {names[row] for row in stratified_order(y, sample_keys(names), 0)[:12].tolist()}
    moved = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    other = [names[row] for row in moved.tolist()]
    again = {other[row] for row in stratified_order(y[moved], sample_keys(other), 0)[:12].tolist()}
    assert chosen == again
    assert chosen != {
        names[row] for row in stratified_order(y, sample_keys(names), 1)[:12].tolist()
    }
