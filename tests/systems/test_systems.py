"""Every system trains on small data, answers, and says what tables need."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from tempering.attacks.fgsm import FGSM
from tempering.core.engine import start_engine
from tempering.core.threats import Linf
from tempering.data.loading import load as load_data
from tempering.defenses.backdoor import Backdoored
from tempering.defenses.routing import Routed
from tempering.models import BaseClassifier, load, save
from tempering.systems.ai_guardian import without_fixed_points
from tempering.systems.detection import LONG
from tempering.systems.registry import SYSTEMS
from tempering.systems.setting import BUDGETS, Setting
from tempering.systems.system import Fitted
from tests.defenses.manifests import manifest_of

TINY = dataclasses.replace(
    BUDGETS["10m"], standard_steps=30, adversarial_steps=4, attack_steps=2, samples=10, width=0.05
)


@pytest.fixture(scope="module")
def setting() -> Setting:
    data = load_data("digits")
    few = dataclasses.replace(data, train=data.train.take(200))
    return Setting(few, Linf(0.1), start_engine("32-true"), 0, TINY, batch_size=32)


@pytest.fixture(scope="module")
def fitted_of(setting: Setting) -> Callable[[str], Fitted]:
    return cache(lambda name: SYSTEMS[name].fit(setting))


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_a_system_is_saved_and_loaded(
    name: str, setting: Setting, fitted_of: Callable[[str], Fitted], tmp_path: Path
) -> None:
    model = fitted_of(name).model
    assert isinstance(model, BaseClassifier)
    save(model, tmp_path, manifest_of(model, setting.data.shape))
    x = setting.data.test.x[:12]
    assert torch.equal(load(tmp_path).model(x), model(x))


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_a_system_trains_and_answers(
    name: str, setting: Setting, fitted_of: Callable[[str], Fitted]
) -> None:
    system = SYSTEMS[name]
    for text in (system.title, system.source, system.how, system.weakness):
        assert text
    assert (system.claimed is None) == (system.claim == "")
    fitted = fitted_of(name)
    x = setting.data.test.x[:6]
    for model in (fitted.model, fitted.exposed, fitted.bare):
        assert not model.training
        assert model(x).shape[0] == 6
    classes = setting.data.train.num_classes
    flag = getattr(fitted.model, "adversarial_class", None)
    assert fitted.model(x).shape[1] == classes + (flag is not None)
    moved = x.clone().requires_grad_()
    fitted.model(moved).logsumexp(1).sum().backward()
    assert moved.grad is not None
    assert bool(moved.grad.isfinite().all())


def test_a_guardian_answers_the_true_class_through_its_trigger(
    setting: Setting, fitted_of: Callable[[str], Fitted]
) -> None:
    model = fitted_of("ai-guardian").model
    assert isinstance(model, Backdoored)
    x = setting.data.test.x[:8]
    stamped = model.stamped(x)
    assert torch.equal(stamped[..., -4:, -4:], torch.ones(8, 1, 4, 4))
    assert torch.equal(stamped[..., :4, :], x[..., :4, :])
    inner = model.network(stamped)
    y = torch.arange(10)
    assert torch.equal(model(x), inner[:, model.mapped(y)])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_mapping_moves_every_class(classes: int) -> None:
    mapping = without_fixed_points(classes, seed=1)
    assert sorted(mapping) == list(range(classes))
    assert all(there != here for here, there in enumerate(mapping))


def test_images_take_the_route_of_their_kind(
    setting: Setting, fitted_of: Callable[[str], Fitted]
) -> None:
    fitted = fitted_of("attacker-defender")
    model = fitted.model
    assert isinstance(model, Routed)
    x = setting.data.test.x[:12]
    x_adv = FGSM()(fitted.exposed, x, setting.data.test.y[:12], Linf(0.1))
    both = torch.cat([x, x_adv])
    kinds = model.discriminator.kind_of(both)
    expected = torch.cat(
        [
            model.classifier(model.bank[model.routes[int(kind)]](one[None]))
            for kind, one in zip(kinds, both, strict=True)
        ]
    )
    assert torch.allclose(model(both), expected, atol=1e-5)


def test_only_long_budgets_compare_estimators(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempering.systems.watched.SAMPLES", 60)
    assert set(BUDGETS) - set(LONG) == {"10m"}
    long = dataclasses.replace(setting, budget=dataclasses.replace(TINY, name="60m"))
    watched = SYSTEMS["aedpl-dl"].fit(long).watched
    assert watched is not None
    assert watched.estimators == ("knn", "random_forest", "gradient_boosting")
    knn = watched.refit(watched.attacks, estimator="knn")
    assert knn.options["estimator"] == "knn"
    assert bool(knn.threshold.isfinite())
