"""The table of AI-Guardian's own attacks, its triggers, and the share that moves."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tempering.core.engine import start_engine
from tempering.core.threats import L1, Linf, Threat
from tempering.data.loading import load
from tempering.systems import guardian_attacks
from tempering.systems.ai_guardian import moving_share, random_trigger
from tempering.systems.backdoor_objective import TriggerShare
from tempering.systems.guardian_attacks import EFFORTS, effort_of
from tempering.systems.registry import SYSTEMS
from tempering.systems.setting import BUDGETS, Budget, Setting


def small(name: str, threat: Threat) -> Setting:
    budget = Budget(name, 3, 2, 1, 6, 0.1)
    data = load("digits")
    few = dataclasses.replace(data, train=data.train.take(60))
    return Setting(few, threat, start_engine("32-true"), 0, budget, batch_size=16)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, triggers in (("10m", 1), ("60m", 2)):
        effort = dataclasses.replace(
            EFFORTS[name],
            triggers=triggers,
            score_queries=20,
            label_images=2,
            label_queries=60,
            search_steps=1,
            authors_steps=3,
        )
        monkeypatch.setitem(EFFORTS, name, effort)
    monkeypatch.setattr(guardian_attacks, "STEPS", 3)


@pytest.mark.usefixtures("quick")
def test_every_attacker_is_a_row_of_every_trigger() -> None:
    setting, system = small("60m", Linf(0.2)), SYSTEMS["ai-guardian"]
    fitted = system.fit(setting)
    rows = system.further(fitted, setting, setting.data.test)
    names = [
        "no attack",
        "authors' attack: pgd-3, targeted, eps 0.2",
        "oblivious: pgd-3",
        "oblivious: cw-linf-3",
        "trigger known: pgd-3",
        "trigger from queries: pgd-3",
        "trigger from weights: pgd-3",
        "scores of the system: square-20",
        "labels of the system: hopskipjump-60",
    ]
    assert [row.name for row in rows] == names * 2
    assert [row.variant for row in rows] == ["trigger 1"] * 9 + ["trigger 2"] * 9
    assert [row.withstood.n for row in rows[:9]] == [6, 6, 6, 6, 6, 6, 6, 6, 2]
    for row in rows:
        clean = rows[0 if row.variant == "trigger 1" else 9].withstood.hits
        assert row.withstood.hits <= clean or row.name.startswith("authors")
    assert any("the further triggers" in text for text in fitted.shortened)
    assert system.further(fitted, setting, setting.data.test) == rows


@pytest.mark.usefixtures("quick")
def test_attacks_that_do_not_know_the_norm_are_left_out() -> None:
    setting, system = small("10m", L1(3.0)), SYSTEMS["ai-guardian"]
    fitted = system.fit(setting)
    names = [row.name for row in system.further(fitted, setting, setting.data.test)]
    assert "trigger known: pgd-3" in names
    assert not any("hopskipjump" in name for name in names)
    assert any("one trigger instead of 3" in text for text in fitted.shortened)


def test_other_systems_have_no_attacks_of_their_own() -> None:
    setting = small("10m", Linf(0.2))
    system = SYSTEMS["undefended"]
    assert system.further(system.fit(setting), setting, setting.data.test) == []


def test_fewer_images_than_usual_limit_every_attack() -> None:
    asked = effort_of(BUDGETS["60m"])
    assert asked.images == 1000
    few = effort_of(dataclasses.replace(BUDGETS["60m"], samples=30))
    assert (few.images, few.score_images, few.label_images) == (30, 30, 30)
    assert effort_of(BUDGETS["10m"]).images == BUDGETS["10m"].samples


def test_random_triggers_are_squares_of_their_own_place_and_values() -> None:
    drawn = [random_trigger((3, 12, 10), seed) for seed in range(8)]
    for trigger, mask in drawn:
        assert trigger.shape == (3, 12, 10)
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        assert int(rows[-1] - rows[0]) == int(columns[-1] - columns[0]) == 3
        assert int(mask.sum()) == 16
        assert not trigger[:, ~mask].any()
        assert len(set(trigger[:, mask].flatten().tolist())) > 40
    assert len({tuple(mask.nonzero()[0].tolist()) for _, mask in drawn}) > 3


def test_the_share_moves_toward_the_weaker_accuracy_after_each_round() -> None:
    share = TriggerShare(0.8, constant_steps=2, round_steps=2)
    stamped = torch.tensor([True, True, False, False])
    weak_clean, weak_trigger = ~stamped | stamped, stamped.clone()
    weak_clean[3] = False
    weak_trigger = ~weak_trigger
    for step in range(2):
        share.count(step, weak_clean, stamped)
    assert share.value == 0.8
    for step in range(2, 4):
        share.count(step, weak_clean, stamped)
    assert share.value == pytest.approx(0.79)
    for step in range(4, 8):
        share.count(step, weak_trigger, stamped)
    assert share.value == pytest.approx(0.81)
    still = TriggerShare(0.5)
    still.count(0, weak_clean, stamped)
    assert still.value == 0.5


def test_the_embedding_moves_its_share_about_fifty_times() -> None:
    share = moving_share(2000)
    assert (share.value, share.constant_steps, share.round_steps) == (0.8, 1000, 20)
    assert moving_share(1).round_steps == 1
