"""The loop: which round is kept, what floors and failures do, and that it can be interrupted."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tempering.core.errors import DivergedError, InterruptedRunError, RunError, TemperingError
from tempering.core.random import RandomStreams
from tempering.core.records import Count, Epoch, Round
from tempering.core.threats import Linf
from tempering.training import PGDTraining
from tempering.training.loop import LoopConfig, Validation, train
from tests.training.toys import (
    ENGINE,
    Script,
    dataset,
    job,
    mixture,
    network,
    plan,
    same,
)

PLAIN = {"clean": 1.0, "noisy": 0.0, "adversarial": 0.0, "attacks": []}


def rounds(history: list[Epoch | Round]) -> list[Round]:
    return [record for record in history if isinstance(record, Round)]


def epochs(history: list[Epoch | Round]) -> list[Epoch]:
    return [record for record in history if isinstance(record, Epoch)]


def test_the_model_ends_with_its_best_round_on_validation(tmp_path: Path) -> None:
    script, model = Script(worst=[3, 7, 7, 5]), network()
    history, stop = train(model, job(tmp_path, plan(steps=16), script), ENGINE)
    assert same(dict(model.state_dict()), script.seen[1])
    assert not same(dict(model.state_dict()), script.seen[3])
    assert [record.outcome for record in rounds(history)] == ["best", "best", "kept", "kept"]
    assert [record.step for record in rounds(history)] == [4, 8, 12, 16]
    assert rounds(history)[3].reason == "round 1 stays best at 70.0 %"
    assert (stop.best_round, stop.rounds, stop.steps) == (1, 4, 16)
    assert (stop.rule, stop.reason) == ("MaxIterations", "MaxIterations(16): 16 steps done")


def test_rounds_are_judged_once_eps_is_whole(tmp_path: Path) -> None:
    script, growing = Script(worst=[5, 6]), PGDTraining(steps=1, eps_warmup_steps=6)
    history, stop = train(
        network(), job(tmp_path, plan(steps=12), script, objective=growing), ENGINE
    )
    assert [record.step for record in rounds(history)] == [8, 12]
    assert stop.best_round == 1


def test_clean_accuracy_does_not_make_a_round_best(tmp_path: Path) -> None:
    script, model = Script(worst=[6, 5], clean=[6, 10]), network()
    train(model, job(tmp_path, plan(steps=8), script), ENGINE)
    assert same(dict(model.state_dict()), script.seen[0])


def test_without_a_judge_the_last_weights_are_kept(tmp_path: Path) -> None:
    model = network()
    history, stop = train(model, job(tmp_path, plan(steps=8)), ENGINE)
    assert rounds(history) == []
    assert (stop.best_round, stop.rounds, stop.steps) == (-1, 0, 8)
    longer = network()
    train(longer, job(tmp_path / "longer", plan(steps=9)), ENGINE)
    assert not same(dict(model.state_dict()), dict(longer.state_dict()))


def test_a_round_under_the_clean_floor_is_rolled_back(tmp_path: Path) -> None:
    # The step after a rollback starts from the best round, with a fresh Adam, whose first
    # step moves every weight that has a gradient by exactly the (halved) learning rate.
    script, model = Script(worst=[5, 9, 4], clean=[8, 3, 8]), network()
    settings = plan(steps=3, per_round=1, floor=0.5, learning_rate=0.01, mixture=mixture(**PLAIN))
    history, stop = train(model, job(tmp_path, settings, script), ENGINE)
    assert [record.outcome for record in rounds(history)] == ["best", "rolled back", "kept"]
    assert rounds(history)[1].reason == (
        "clean accuracy 30.0 % is under the floor 50.0 %; back to round 0, learning rate halved"
    )

    def moves(a: int, b: int) -> Tensor:
        pairs = zip(script.seen[a].values(), script.seen[b].values(), strict=True)
        return torch.cat([(mine - other).abs().flatten() for mine, other in pairs])

    moved = moves(2, 0)
    moved = moved[moved > 0]
    assert len(moved) > 50
    torch.testing.assert_close(moved, torch.full_like(moved, 0.005), rtol=0.001, atol=0)
    assert float(moves(1, 0).max()) > 0.009
    assert stop.best_round == 0
    assert same(dict(model.state_dict()), script.seen[0])


def test_a_first_round_under_the_floor_has_nowhere_to_return_to(tmp_path: Path) -> None:
    script, model = Script(worst=[9, 4], clean=[3, 8]), network()
    history, stop = train(model, job(tmp_path, plan(steps=8, floor=0.5), script), ENGINE)
    assert [record.outcome for record in rounds(history)] == ["below floor", "best"]
    assert "no earlier round to return to" in rounds(history)[0].reason
    assert stop.best_round == 1
    assert same(dict(model.state_dict()), script.seen[1])


def test_each_rollback_halves_the_learning_rate(tmp_path: Path) -> None:
    script = Script(worst=[5, 5, 5, 5], clean=[9, 1, 1, 9])
    settings = plan(steps=20, per_round=5, floor=0.5, learning_rate=0.01)
    history, _ = train(network(), job(tmp_path, settings, script), ENGINE)
    assert [epoch.learning_rate for epoch in epochs(history)] == [0.01, 0.01, 0.005, 0.0025]


def test_gains_are_over_the_starting_model(tmp_path: Path) -> None:
    settings = plan(steps=40, stopping={"gain_at_least": 0.25})
    history, stop = train(
        network(), job(tmp_path, settings, Script(worst=[2, 3, 4, 9]), baseline=0.1), ENGINE
    )
    assert [record.gain for record in rounds(history)] == pytest.approx([0.1, 0.2, 0.3])
    assert (stop.rule, stop.reason) == (
        "GainAtLeast",
        "GainAtLeast(0.25): 0.300 gained over the starting model",
    )
    assert stop.steps == 12


def test_a_plateau_ends_training_between_rounds(tmp_path: Path) -> None:
    settings = plan(steps=40, stopping={"plateau_rounds": 2})
    _, stop = train(network(), job(tmp_path, settings, Script(worst=[5, 6, 6, 4])), ENGINE)
    assert (stop.rule, stop.steps, stop.best_round) == ("Plateau", 16, 1)


def test_a_spent_budget_ends_training_at_the_end_of_a_round(tmp_path: Path) -> None:
    settings = plan(steps=40, stopping={"budget_seconds": 1e-6})
    _, stop = train(network(), job(tmp_path, settings, Script(worst=[5])), ENGINE)
    assert (stop.rule, stop.steps, stop.rounds) == ("Budget", 4, 1)


def test_curves_have_a_point_an_epoch_and_one_at_the_end(tmp_path: Path) -> None:
    history, _ = train(network(), job(tmp_path, plan(steps=12)), ENGINE)
    assert [(epoch.epoch, epoch.step) for epoch in epochs(history)] == [(1, 5), (2, 10), (3, 12)]
    assert [epoch.train_accuracy.n for epoch in epochs(history)] == [60, 60, 24]
    assert all(epoch.validation_accuracy.n == 20 for epoch in epochs(history))


def test_training_learns(tmp_path: Path) -> None:
    settings = plan(steps=100, learning_rate=0.02)
    grey = dataset()
    data = replace(grey, pixels=grey.x + 0.2 * (2.0 * grey.y[:, None, None, None] - 1))
    work = job(tmp_path, settings, data=data, threat=Linf(0.05), validation=data)
    untrained = network().eval()(data.x).argmax(1) == data.y
    assert float(untrained.float().mean()) < 0.6
    history, _ = train(network(), work, ENGINE)
    assert epochs(history)[-1].validation_accuracy.fraction > 0.95


def test_the_learning_rate_warms_up_and_falls(tmp_path: Path) -> None:
    settings = plan(steps=10, schedule="linear", warmup_steps=4, learning_rate=0.01, batch_size=60)
    history, _ = train(network(), job(tmp_path, settings), ENGINE)
    rates = [epoch.learning_rate for epoch in epochs(history)]
    expected = [0.01 * min(1, (step + 1) / 4) * (1 - step / 10) for step in range(10)]
    assert rates == pytest.approx(expected)


def test_a_moving_average_is_what_is_judged_and_kept(tmp_path: Path) -> None:
    model, plain = network(), network()
    script = Script(worst=[5])
    train(model, job(tmp_path, plan(steps=4, averaging=0.9), script), ENGINE)
    train(plain, job(tmp_path / "plain", plan(steps=4), Script(worst=[5])), ENGINE)
    assert same(dict(model.state_dict()), script.seen[0])
    start = dict(network().state_dict())
    for name, averaged in model.state_dict().items():
        # between where training began and where it arrived
        assert (averaged - start[name]).norm() < (plain.state_dict()[name] - start[name]).norm()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> dict[str, Tensor]:
        model = network()
        settings = plan(steps=6)
        train(model, job(tmp_path / name, settings, seed=seed), ENGINE)
        return dict(model.state_dict())

    assert same(weights("a", 1), weights("b", 1))
    assert not same(weights("a2", 1), weights("c", 2))


def test_training_leaves_everyone_elses_random_numbers_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    train(network(), job(tmp_path, plan(steps=2)), ENGINE)
    assert torch.equal(state, torch.get_rng_state())


def test_a_loss_that_is_not_finite_is_an_error_and_is_not_saved(tmp_path: Path) -> None:
    class Explodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls = network(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            logits: Tensor = self.net(x)
            return logits * float("nan") if self.calls == 3 else logits

    settings = plan(mixture=mixture(**PLAIN))
    work = job(tmp_path, settings, save_every=0.0)
    message = (
        "training hardened diverged: the loss of objective paper is nan at step 3: "
        "lower the learning rate"
    )
    with pytest.raises(TemperingError, match=message):
        train(Explodes(), work, ENGINE)
    fresh = Explodes()
    fresh.calls = 100
    _, stop = train(fresh, work, ENGINE)
    assert stop.steps == 12
    assert all(bool(tensor.isfinite().all()) for tensor in fresh.state_dict().values())


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    work = job(tmp_path, plan(steps=4))
    train(network(), work, ENGINE)
    with pytest.raises(RunError, match="belongs to another recipe, model or data"):
        train(network(), job(tmp_path, plan(steps=4), key="two"), ENGINE)


def test_a_training_that_ended_is_not_done_again(tmp_path: Path) -> None:
    script, model = Script(worst=[3, 7, 5]), network()
    work = job(tmp_path, plan(), script)
    ended = train(model, work, ENGINE)
    again = network(3)
    assert train(again, work, ENGINE) == ended
    assert len(script.seen) == 3
    assert same(dict(again.state_dict()), dict(model.state_dict()))


# Interruptions: wherever one falls, going on ends with the weights of an undisturbed training.


class Judge:
    """Judges by the weights, so that every round must be judged on the right ones."""

    def __init__(self, interrupted_at: int = -1) -> None:
        self.calls, self.interrupted_at = 0, interrupted_at

    def __call__(self, model: nn.Module) -> Validation:
        self.calls += 1
        if self.calls == self.interrupted_at:
            os.kill(os.getpid(), signal.SIGINT)
        data = dataset(20, seed=1)
        with torch.no_grad():
            hits = int((model(data.x).argmax(1) == data.y).sum())
        count = Count(hits=hits, n=20)
        return Validation(clean=count, worst=count, by_attack={"fgsm": count})


class Disturbed(nn.Module):
    """Gets a Ctrl-C in the midst of a step: after the loss is begun, before weights change."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.net, self.steps, self.at = network(), 0, at

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            if self.steps == self.at:
                os.kill(os.getpid(), signal.SIGINT)
        return self.net(x)  # type: ignore[no-any-return]


SETTINGS = plan(steps=23, per_round=5, averaging=0.5, floor=0.3, schedule="linear")


def undisturbed(folder: Path) -> tuple[list[Epoch | Round], dict[str, Tensor]]:
    model = Disturbed(at=-1)
    history, _ = train(model, job(folder / "undisturbed", SETTINGS, Judge()), ENGINE)
    return [record.model_copy(update={"seconds": 0.0}) for record in history], dict(
        model.state_dict()
    )


def went_on(work: LoopConfig, folder: Path) -> None:
    """Going on ends where an undisturbed training ends: same weights, rounds and curves."""
    history, weights = undisturbed(folder)
    model = Disturbed(at=-1)
    judge = Judge()
    again, stop = train(model, replace(work, rounds=replace(work.rounds, validate=judge)), ENGINE)
    assert [record.model_copy(update={"seconds": 0.0}) for record in again] == history
    assert same(dict(model.state_dict()), weights)
    assert (stop.steps, stop.rounds) == (23, 5)


def interrupted(work: LoopConfig, model: nn.Module, step: int) -> None:
    message = f"interrupted at step {step} of training hardened; saved"
    with pytest.raises(InterruptedRunError, match=f"^{re.escape(message)}$"):
        train(model, work, ENGINE)


@pytest.mark.parametrize("at", [1, 2, 5, 6, 13, 23])
def test_ctrl_c_within_a_step_waits_for_its_end(tmp_path: Path, at: int) -> None:
    work = job(tmp_path, SETTINGS, Judge())
    interrupted(work, Disturbed(at), step=at)
    went_on(work, tmp_path)


@pytest.mark.parametrize("at", [1, 3, 5])
def test_ctrl_c_while_a_round_is_judged_judges_it_again(tmp_path: Path, at: int) -> None:
    work = job(tmp_path, SETTINGS, Judge(interrupted_at=at))
    interrupted(work, Disturbed(-1), step=min(23, 5 * at))
    went_on(work, tmp_path)


def test_ctrl_c_while_a_batch_is_made_loses_only_that_batch(tmp_path: Path) -> None:
    calls = []

    def augment(x: Tensor, streams: RandomStreams) -> Tensor:
        calls.append(1)
        if len(calls) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return x

    work = job(tmp_path, SETTINGS, Judge(), augment=augment)
    interrupted(work, Disturbed(-1), step=7)
    went_on(work, tmp_path)


def test_many_interruptions_change_nothing(tmp_path: Path) -> None:
    work = job(tmp_path, SETTINGS, Judge())
    for step in range(3, 22, 3):
        interrupted(work, Disturbed(at=3), step=step)
    went_on(work, tmp_path)


def test_a_kill_leaves_the_last_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def killed(at: int) -> Callable[[nn.Module], Validation]:
        judge = Judge()

        def validate(model: nn.Module) -> Validation:
            if judge.calls + 1 == at:
                raise KilledError
            return judge(model)

        return validate

    work = job(tmp_path, SETTINGS, killed(at=3), save_every=0.0)
    with pytest.raises(KilledError):
        train(Disturbed(-1), work, ENGINE)
    assert work.checkpoints.path.exists()
    went_on(work, tmp_path)


def test_checkpoints_are_as_far_apart_as_asked(tmp_path: Path) -> None:
    def watch(folder: Path, save_every: float) -> list[bool]:
        path = folder / "hardened.safetensors"
        seen: list[bool] = []

        def augment(x: Tensor, streams: RandomStreams) -> Tensor:
            seen.append(path.exists())
            return x

        train(
            network(),
            job(folder, plan(steps=3), augment=augment, save_every=save_every),
            ENGINE,
        )
        assert path.exists()
        return seen

    assert watch(tmp_path / "often", 0.0) == [False, True, True]
    assert watch(tmp_path / "rarely", 1000.0) == [False, False, False]


class Diverges(nn.Module):
    """Answers with NaN in evaluation mode, from the third step on."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.steps = network(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        logits: Tensor = self.net(x)
        return logits * float("nan") if self.steps > 2 and not self.training else logits


@pytest.mark.parametrize("settings", [PLAIN, {}])
def test_a_training_that_diverges_says_so_wherever_it_is_seen(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    work = job(tmp_path, plan(steps=12, mixture=mixture(**settings)), Script(worst=[5, 5, 5]))
    with pytest.raises(DivergedError) as raised:
        train(Diverges(), work, ENGINE)
    told = str(raised.value)
    assert told.startswith("training hardened diverged: the logits for sample ")
    assert told.endswith("are not finite after step 5: lower the learning rate 0.01")
