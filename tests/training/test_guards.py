"""Guards: overfitting to a single step is undone, and a collapsed training stops early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tempering.attacks import FGSM, PGD
from tempering.core.notes import TemperingWarning
from tempering.core.threats import Linf
from tempering.training import (
    AWP,
    FGSMRS,
    Interval,
    LogitPairing,
    Mart,
    Objective,
    Paper,
    PGDTraining,
    Standard,
    Trades,
    guards,
)
from tempering.training.guards import Guard, GuardState
from tempering.training.learner import Learner
from tempering.training.loop import train
from tempering.training.step_values import StepState, copied
from tempering.training.stopping import MaxIterations
from tests.training.toys import ENGINE, THREAT, dataset, job, network, plan, same


def learner(objective: Objective, steps: int = 900, model: nn.Module | None = None) -> Learner:
    net = model or network()
    update = plan(steps=steps).update_config(THREAT, 5, None)
    return Learner(net, dataset(), objective, update, steps, ENGINE, StepState.of(net))


def linear() -> nn.Sequential:
    """Tells bright images from dark ones."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([-1.0, 1.0, 0.0])[:, None].expand(3, 9))
        net[1].bias.copy_(torch.tensor([4.5, -4.5, -50.0]))
    return net


def plant(monkeypatch: pytest.MonkeyPatch, *pairs: tuple[float, float]) -> None:
    """Accuracies under one step and under ten, check by check."""
    values: Iterator[float] = iter([value for pair in pairs for value in pair])
    monkeypatch.setattr(guards, "_accuracy", lambda *_given: next(values))


def look(guard: Guard, at: Learner, state: GuardState, step: int) -> None:
    at.step = step
    guard.check(at, state)


def test_overfitting_restores_the_last_good_weights_and_takes_more_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, (0.5, 0.4), (0.7, 0.5), (0.7, 0.4), (0.9, 0.1))
    at, state = learner(FGSMRS(eps_warmup_steps=7)), GuardState()
    guard = Guard.of(dataset(), ENGINE, 1)
    kept = {}
    for step in (11, 12, 13):
        with torch.no_grad():
            at.model[1].weight.add_(1.0)
        if step == 12:
            kept = copied(at.model.state_dict())
        look(guard, at, state, step)
    assert state.switched == -1
    assert same(state.good, kept)  # the third is less than nine tenths of the best
    said = (
        "overfitting at step 14: 90 % withstand one step of attack, 10 % withstand 10: training "
        "restores the last good weights and goes on with pgd"
    )
    with pytest.warns(TemperingWarning, match=said):
        look(guard, at, state, 14)
    assert at.objective == PGDTraining(eps_warmup_steps=7)
    assert same(dict(at.model.state_dict()), kept)
    assert state.switched == 14


def test_accuracy_is_not_compared_with_that_at_a_smaller_eps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, (0.9, 0.9), (0.75, 0.5), (0.6, 0.35), (0.55, 0.3), (0.5, 0.1))
    at, state = learner(FGSMRS(eps_warmup_steps=30)), GuardState()
    guard, kept = Guard.of(dataset(), ENGINE, 1), {}
    for step in (10, 20, 30, 40):
        with torch.no_grad():
            at.model[1].weight.add_(1.0)
        if step == 30:
            kept = copied(at.model.state_dict())
        look(guard, at, state, step)
        assert at.objective == FGSMRS(eps_warmup_steps=30)
    assert same(state.good, kept)  # those of the whole eps
    with pytest.warns(TemperingWarning, match="50 % withstand one step of attack, 10 %"):
        look(guard, at, state, 50)
    assert same(dict(at.model.state_dict()), kept)


@pytest.mark.parametrize(
    "objective", [PGDTraining(1), Trades(steps=1), Mart(steps=1), LogitPairing(steps=1)]
)
def test_one_step_of_pgd_is_a_single_step_too(objective: Objective) -> None:
    after = objective.multi_step()
    assert after is not None
    assert after == replace(objective, steps=10)
    assert after.multi_step() is None


def test_the_papers_objective_has_a_single_step_where_all_its_attacks_have() -> None:
    single = Paper(attacks=(FGSM(),), alpha=0.3)
    assert single.multi_step() == PGDTraining(eps_warmup_steps=single.eps_warmup_steps)
    assert Paper(attacks=(FGSM(), PGD(2))).multi_step() is None
    assert Paper(attacks=(FGSM(),), adversarial=0.0, clean=0.9).multi_step() is None


def test_a_gap_alone_is_no_overfitting_unless_it_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, (0.6, 0.3), (0.6, 0.2), (0.8, 0.25))
    at, state, guard = learner(FGSMRS()), GuardState(), Guard.of(dataset(), ENGINE, 1)
    for step in (1, 2):
        look(guard, at, state, step)
    assert at.objective == FGSMRS()
    with pytest.warns(TemperingWarning, match="catastrophic overfitting at step 3"):
        look(guard, at, state, 3)


def test_wrapped_objectives_keep_their_wrapper_and_others_are_left_alone() -> None:
    switched = AWP(FGSMRS(), gamma=0.01).multi_step()
    assert switched == AWP(PGDTraining(), gamma=0.01)
    assert Trades().multi_step() is None
    assert AWP(Trades()).multi_step() is None


def test_accuracies_are_those_under_attack() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    at, state = learner(FGSMRS(), model=net), GuardState()
    look(Guard.of(dataset(), ENGINE, 1), at, state, 1)
    assert state.switched == -1  # a linear model falls to one step as to ten
    assert state.good


def test_a_switched_training_is_resumed_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []
    for name, legs in (("whole", [12]), ("legs", [6, 12])):
        plant(monkeypatch, (0.5, 0.4), (0.9, 0.1))
        for last in legs:
            model, begun = network(), job(tmp_path / name, plan(steps=12, objective="fgsm-rs"))
            rounds = replace(
                begun.rounds, steps_per_round=1, stop=MaxIterations(last), guard_every=2
            )
            resumed = last == 12 and name == "legs"
            with nullcontext() if resumed else pytest.warns(TemperingWarning, match="at step 4"):
                train(model, replace(begun, rounds=rounds), ENGINE)
        ended.append(copied(model.state_dict()))
    assert same(*ended)


def test_a_constant_prediction_stops_the_training_with_what_to_change(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model[4].weight.zero_()
        model[4].bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    config = plan(steps=900, per_round=900, objective="standard", learning_rate=1e-9)
    begun = job(tmp_path, config)
    _, stop = train(model, replace(begun, rounds=replace(begun.rounds, guard_every=50)), ENGINE)
    assert stop.steps == 350  # a third of the training after the first look
    assert stop.rule == "Collapse"
    assert "class 0 for all 20 held-back samples since step 50: lower the learning" in stop.reason


def test_bounds_that_certify_nothing_past_the_ramp_stop_the_training() -> None:
    objective = Interval(ramp_start=0.0, ramp_end=0.1)
    at, state = learner(objective, model=linear()), GuardState()
    guard = Guard.of(dataset(), ENGINE, 50)
    look(guard, at, state, 50)
    assert state.uncertified_since == -1  # still on the ramp
    for step in (100, 350, 400):
        look(guard, at, state, step)
    assert state.uncertified_since == 100
    assert "Collapse(nothing certified): 0 of 60 held-back samples at linf:0.2" in state.stop
    assert "ramp_end" in state.stop


def test_what_is_certified_lets_the_training_go_on() -> None:
    net = linear()
    objective = Interval(ramp_start=0.0, ramp_end=0.1)
    narrow = plan(steps=900).update_config(Linf(0.01), 5, None)
    at = Learner(net, dataset(), objective, narrow, 900, ENGINE, StepState.of(net))
    state, guard = GuardState(), Guard.of(dataset(), ENGINE, 50)
    for step in (100, 500, 850):
        look(guard, at, state, step)
    assert state.stop == ""
    assert state.uncertified_since == -1


def test_guards_look_when_they_are_due() -> None:
    guard = Guard.of(dataset(), ENGINE, 50)
    seen = GuardState(checked=100)
    due = [step for step in (0, 50, 99, 100, 150) if guard.due(step, seen)]
    assert due == [50, 150]
    assert not Guard.of(dataset(), ENGINE, 0).due(50, GuardState())
    assert Standard().multi_step() is None
