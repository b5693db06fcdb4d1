"""Disagreement of several answers against its formula."""

import numpy as np
import pytest
import torch
from torch import nn

from tempering.core.errors import ModelError, UsageError
from tempering.data.dataset import Dataset
from tempering.evaluation.disagreement import (
    disagreement,
    dropout_probabilities,
    ensemble_probabilities,
)


def data(n: int = 12) -> Dataset:
    x = torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    return Dataset.of(x, torch.arange(n) % 3)


def net(p: float = 0.0, outputs: int = 3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.Dropout(p), nn.Linear(8, outputs))


def test_it_is_the_mutual_information() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=(3, 6))
    mean = p.mean(0)
    expected = -(mean * np.log(mean)).sum(1) + (p * np.log(p)).sum(2).mean(0)
    np.testing.assert_allclose(disagreement(torch.tensor(p)), expected, atol=1e-9)
    assert disagreement(torch.full((5, 2, 4), 0.25)).tolist() == [0, 0]


def test_dropout_is_left_on_in_a_copy_and_is_drawn_by_seed() -> None:
    model = net(0.5).train()
    once, again = (dropout_probabilities(model, data(), 4, seed=1) for _ in range(2))
    assert once is not None
    assert again is not None
    assert torch.equal(once, again)
    assert float(disagreement(once).min()) > 0
    assert model.training
    assert dropout_probabilities(net(0.0), data(), 4, seed=1) is None
    with pytest.raises(UsageError, match="passes 1: give at least 2"):
        dropout_probabilities(model, data(), 1, seed=1)


def test_an_ensemble_answers_with_each_of_its_models() -> None:
    models = [net(seed=0).eval(), net(seed=1).eval()]
    held = ensemble_probabilities(models, data())
    torch.testing.assert_close(held[1], models[1](data().x).softmax(1))
    with pytest.raises(UsageError, match="an ensemble of 1"):
        ensemble_probabilities(models[:1], data())
    with pytest.raises(ModelError, match="an ensemble with 3, 4 classes"):
        ensemble_probabilities([models[0], net(outputs=4)], data())
