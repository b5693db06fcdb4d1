"""Attacks on the protection layer through the network of its features."""

from __future__ import annotations

import pytest
import torch

from tempering.core.engine import start_engine
from tempering.core.goals import EvadeDetector
from tempering.core.threats import Linf
from tempering.data.loading import load
from tempering.systems import layer_attacks, watched
from tempering.systems.layer_attacks import AttackOdds
from tempering.systems.registry import SYSTEMS
from tempering.systems.setting import Budget, Setting


def test_copies_are_stricter_and_their_images_fool_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer_attacks, "STEPS", 40)
    monkeypatch.setattr(watched, "SAMPLES", 200)
    threat = Linf(0.3)
    budget = Budget("10m", 150, 2, 2, 20, 0.1)
    setting = Setting(load("digits"), threat, start_engine("32-true"), 0, budget, batch_size=64)
    fitted = SYSTEMS["aedpl-dl"].fit(setting)
    assert len(fitted.attacks) == 3
    part = setting.data.test.take(40)
    x, y = part.images(torch.arange(40)), part.y
    before = fitted.model(x).argmax(1) == y
    left = torch.ones(40, dtype=torch.bool)
    for attack in fitted.attacks:
        x_adv = attack(fitted.model, x, y, threat, goal=EvadeDetector(10))
        answers = fitted.model(x_adv).argmax(1)
        left &= (answers == y) | (answers == 10)
    assert int(before.sum()) >= 25, "the network is trained"
    assert int(left.sum()) < int(before.sum()) // 2


def test_odds_compare_attacks_with_clean_images() -> None:
    logits = torch.tensor([[1.0, 0.5, -2.0], [0.0, 3.0, 1.0]])
    odds = AttackOdds(torch.nn.Identity()).score(logits)
    shares = logits.softmax(1)
    assert torch.allclose(odds, ((1 - shares[:, 0]) / shares[:, 0]).log(), atol=1e-6)
