from __future__ import annotations

import torch
from torch import nn

from tempering.data import Dataset
from tempering.poisoning import HardLabelFlip, LabelFlip, TargetedLabelFlip


def test_random_flips_go_to_every_wrong_class(data: Dataset) -> None:
    done = LabelFlip().poison(data, 1.0)
    pairs = {(int(a), int(b)) for a, b in zip(data.y, done.data.y, strict=True)}
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert done.target is None


def test_targeted_flips_go_from_one_class_to_another(data: Dataset) -> None:
    done = TargetedLabelFlip("owl", "dog").poison(data, 0.2)
    assert set(data.y[done.poisoned].tolist()) == {2}
    assert set(done.data.y[done.poisoned].tolist()) == {1}
    assert done.target == 1


def test_hard_flips_take_the_smallest_margins_and_the_likeliest_wrong_class(
    data: Dataset, network: nn.Module
) -> None:
    done = HardLabelFlip().poison(data, 0.1, model=network)
    logits = network(data.x).detach()
    true = logits.gather(1, data.y[:, None])[:, 0]
    wrong = logits.scatter(1, data.y[:, None], -torch.inf)
    margin = true - wrong.amax(1)
    assert float(margin[done.poisoned].max()) <= float(margin[~done.poisoned].min())
    assert torch.equal(done.data.y[done.poisoned], wrong.argmax(1)[done.poisoned])
    torch.testing.assert_close(done.detail["margin"][done.poisoned], margin[done.poisoned])


def test_without_a_network_a_small_one_is_trained(data: Dataset) -> None:
    first, again = (HardLabelFlip().poison(data, 0.05) for _ in range(2))
    assert torch.equal(first.poisoned, again.poisoned)
    assert float(first.detail["margin"][first.poisoned].mean()) > 0  # it has learned the data
