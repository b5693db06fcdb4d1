"""Accuracy by class adds up to that of the evaluation."""

from __future__ import annotations

import pytest
import torch

from tempering.attacks import FGSM, PGD
from tempering.core.threats import Linf
from tempering.evaluation import EvaluationConfig, Evaluator, Protocol, Stage, each
from tempering.evaluation.per_class import final_predictions
from tests.evaluation.toys import Centroids, Net, context, dataset, target

CASCADE = Protocol("short", (Stage(FGSM()), Stage(PGD(steps=5))))


@pytest.mark.parametrize("protocol", [CASCADE, each([FGSM(), PGD(steps=5)])], ids=["rest", "each"])
def test_counts_of_classes_are_those_of_samples(protocol: Protocol) -> None:
    x = torch.rand(60, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    model = Net()
    y = model(x).argmax(1)
    y[:8] = (y[:8] + 1) % 4
    data = dataset(x, y, 4)
    config = EvaluationConfig(Linf(0.05), protocol, examined=0)
    result = Evaluator(context(data), config).evaluate(target(model, data))
    found = result.per_class
    assert found is not None
    assert found in result.records
    assert 0 < int(result.robust.sum()) < int(result.clean.sum()) == 52
    for label, one in enumerate(found.classes):
        own = y == label
        assert (one.robust.hits, one.robust.n) == (int(result.robust[own].sum()), int(own.sum()))
        assert one.clean.hits == int(result.clean[own].sum())
        assert one.interval == one.robust.interval
    matrix = torch.tensor(found.matrix())
    assert torch.equal(matrix.diag(), torch.tensor([one.robust.hits for one in found.classes]))
    assert torch.equal(matrix.sum(1), y.bincount(minlength=4))
    seen = final_predictions(result)
    adversarial = result.get("worst", "any").per_sample.x_adv
    assert adversarial is not None
    broken = result.clean & ~result.robust
    with torch.no_grad():
        assert torch.equal(seen[broken], model(adversarial[broken]).argmax(1))
        assert torch.equal(seen[~broken], model(x[~broken]).argmax(1))
    assert bool((seen[result.robust] == y[result.robust]).all())
    assert bool((seen[~result.robust] != y[~result.robust]).all())


def test_the_adversarial_class_is_a_column() -> None:
    model = Centroids(0.2, 0.8, 0.5)
    x = torch.tensor([0.22, 0.3, 0.7, 0.78]).reshape(-1, 1, 1, 1)
    data = dataset(x, torch.tensor([0, 0, 1, 1]))
    config = EvaluationConfig(
        Linf(0.1), each([PGD(steps=5)]), curve=None, certify=False, examined=0
    )
    found = Evaluator(context(data), config).evaluate(target(model, data)).per_class
    assert found is not None
    assert found.outputs == ["0", "1", "adversarial"]
    assert found.matrix() == [[1, 0, 1], [0, 1, 1]]
