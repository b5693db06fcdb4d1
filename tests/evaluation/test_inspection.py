"""A whole evaluation, looked at once."""

import torch

from tempering.attacks import FGSM, PGD
from tempering.core.threats import Linf
from tempering.evaluation import accuracy_curve, inspect
from tests.evaluation.toys import THREAT, Net, context, dataset, each_attack, target


def test_an_honest_evaluation_raises_nothing() -> None:
    x = torch.rand(400, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net()
    with torch.no_grad():
        data = dataset(x, model(x).argmax(1), classes=4)
    here, judged = context(data, batch_size=128), target(model, data)
    attacks = [FGSM(), PGD(steps=20)]
    evaluation = each_attack(here, judged, Linf(0.01), attacks, surrogate=Net(1), before=Net(2))
    assert evaluation.get("worst").measurement.robust.hits < 390
    points = accuracy_curve(here, judged, THREAT, [0.0, 0.05, 0.6], attacks=attacks)
    curve = [point.measurement for point in points]
    assert inspect(here, evaluation, sweep=curve, others=curve) == []
