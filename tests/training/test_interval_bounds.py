"""Differentiable interval bounds of a network behind transforms."""

import torch
from torch import nn

from tempering.core.threats import Linf
from tempering.defenses import Pipeline, Threshold
from tempering.models import build
from tempering.training import Interval, StepConfig, train_steps
from tempering.training.interval_bounds import certified, worst_logits
from tests.training.toys import dataset

EPS = 0.2


def test_pixels_that_cannot_cross_the_threshold_are_exact() -> None:
    net = build(
        "strided_cnn",
        (1, 8, 8),
        3,
        seed=1,
        width=4,
        hidden=8,
        squeeze=None,
        adversarial_class=False,
    )
    model = Pipeline(net.eval(), [Threshold(0.5)])
    x = torch.tensor([0.1, 0.9]).repeat(32).reshape(1, 1, 8, 8)
    y = torch.tensor([0])
    margins = net((x > 0.5).float())
    worst = worst_logits(model, x, y, EPS)
    torch.testing.assert_close(worst - worst[:, :1], margins - margins[:, :1])
    x[0, 0, 0, 0] = 0.5 + EPS / 2
    freed = worst_logits(model, x, y, EPS)
    assert bool((freed >= worst - 1e-6).all())
    assert not torch.allclose(freed, worst)


def test_interval_training_goes_through_a_pipeline() -> None:
    data = dataset()
    classes = int(data.y.max()) + 1
    channels, height, width = data.shape
    net = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))
    model = Pipeline(net, [Threshold(0.5)], classes=classes)
    config = StepConfig(Linf(EPS), batch_size=8)
    state = train_steps(model, data, Interval(), 4, config=config)
    model.load_state_dict(state.weights)
    assert state.step == 4
    assert certified(model, data.images(torch.arange(4)), data.y[:4], EPS).shape == (4,)
