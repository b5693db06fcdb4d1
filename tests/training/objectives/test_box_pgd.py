"""PGD in the box behind transforms."""

from functools import cache

import pytest
import torch
from torch import nn

from tempering.attacks import PGD
from tempering.core.errors import ModelError, ThreatError
from tempering.core.threats import L2, Linf
from tempering.data import load
from tempering.defenses import Jpeg, Pipeline, Threshold
from tempering.models import strided_cnn
from tempering.training import AdamW, BoxPGD, Objective, Standard, StepConfig, train_steps
from tests.training.toys import ENGINE, batch_of, maker

EPS = 0.25


def behind(*, seed: int = 0) -> Pipeline:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = strided_cnn((1, 8, 8), 10, width=8, hidden=32, squeeze=None, adversarial_class=False)
    return Pipeline(net, [Threshold(0.5)])


def test_only_undecided_pixels_move() -> None:
    data = load("digits").train
    model = behind().eval()
    batch = batch_of(
        maker(data.first(12), outputs=10, flag=None, threat=Linf(EPS)), BoxPGD(steps=2), model=model
    )
    z = batch.perturbed
    decided = (batch.x - 0.5).abs() > EPS + 1e-6
    assert bool(decided.any())
    assert torch.equal(z[decided], (batch.x > 0.5).float()[decided])
    assert bool(((z >= 0) & (z <= 1)).all())
    free = ~decided
    assert float((z[free] - (batch.x > 0.5).float()[free]).abs().max()) > 0.5
    with torch.no_grad():
        attacked = nn.functional.cross_entropy(model.classifier(z), batch.y)
        plain = nn.functional.cross_entropy(model(batch.x), batch.y)
    assert attacked > plain


@cache
def trained(objective: Objective) -> Pipeline:
    model = behind()
    config = StepConfig(Linf(EPS), batch_size=64, optimizer=AdamW(5e-3))
    state = train_steps(model, load("digits").train, objective, 120, config=config, engine=ENGINE)
    model.load_state_dict(state.weights)
    return model.eval()


def test_it_protects_behind_a_threshold() -> None:
    test = load("digits").test.first(100)

    def robust(model: Pipeline) -> float:
        x_adv = PGD(steps=20)(model, test.x, test.y, Linf(EPS))
        with torch.no_grad():
            return float((model(x_adv).argmax(1) == test.y).float().mean())

    assert robust(trained(BoxPGD())) > robust(trained(Standard())) + 0.1


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (strided_cnn((1, 8, 8), 10, width=2, hidden=4), "behind monotone transforms"),
        (
            Pipeline(strided_cnn((1, 8, 8), 10, width=2, hidden=4, squeeze=None), [Jpeg()]),
            "does not train behind Jpeg",
        ),
    ],
)
def test_other_models_are_refused(model: nn.Module, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        BoxPGD().require_model(model)


def test_other_norms_are_refused() -> None:
    with pytest.raises(ThreatError, match="box-pgd does not train against l2:1: it knows linf"):
        BoxPGD().require(L2(1.0), 10)
