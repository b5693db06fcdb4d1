"""What a search suggests, and when it prunes."""

from __future__ import annotations

import pytest

from tempering.app.recipe import load_recipe
from tempering.app.tuning_sampler import PRUNED, Pruning, Space
from tempering.app.tuning_space import (
    CERTIFIED,
    RANGES,
    ROBUST,
    Choice,
    Settings,
    choices,
    own_settings,
    with_settings,
)
from tempering.core.record import Count
from tempering.core.records import Round
from tempering.core.tuning_records import Trial, TrialState, TuningStudy
from tempering.training.objectives.registry import OBJECTIVES, parse_objective
from tempering.training.stopping import TrainProgress


def trial(number: int, hits: int, *rounds: float, state: TrialState = "finished") -> Trial:
    suggested = {"objective": "trades", "trades.beta": 2.0 + number, "trades.steps": 3}
    return Trial(
        number=number,
        state=state,
        objective="trades:beta=3,steps=3",
        learning_rate=0.01,
        weight_decay=0.0,
        suggested={**suggested, "learning_rate": 0.003 + 0.0003 * number, "weight_decay": 0.0},
        value=Count(hits=hits, n=100),
        rounds=list(rounds),
    )


def rounds_at(*worst: int, outcome: str = "best") -> list[Round]:
    return [
        Round.model_validate(
            {
                "round": number,
                "step": 10 * number,
                "clean": {"hits": 99, "n": 100},
                "worst": {"hits": hits, "n": 100},
                "by_attack": {},
                "rho": 0.0,
                "outcome": outcome,
                "reason": "",
                "seconds": 1.0,
            }
        )
        for number, hits in enumerate(worst)
    ]


@pytest.mark.parametrize("name", RANGES)
def test_every_end_of_every_range_is_a_value_of_its_objective(name: str) -> None:
    choice = Choice(name, RANGES[name])
    for end in ("low", "high"):
        values = {entry.name: getattr(entry, end) for entry in choice.ranges}
        text = choice.written(values)
        if name != "paper":
            assert parse_objective(text).name == name
        recipe = load_recipe("default", ["threat=linf:0.1"])
        made = with_settings(recipe, Settings(text, 0.01, 0.001))
        assert made.training.hardened.objective_value().name == name
        assert made.training.hardened.optimisation.learning_rate == 0.01
    assert {*ROBUST, *CERTIFIED} <= RANGES.keys() <= set(OBJECTIVES)


def test_what_the_text_gives_is_not_searched() -> None:
    recipe = load_recipe()
    both, fixed, wrapped = choices(["trades", "trades:steps=3", "awp:gamma=0.01+mart"], recipe)
    assert [entry.name for entry in both.ranges] == ["beta", "steps"]
    assert [entry.name for entry in fixed.ranges] == ["beta"]
    assert [entry.name for entry in wrapped.ranges] == ["lam", "steps"]
    assert fixed.written({"beta": 2.34567}) == "trades:steps=3,beta=2.346"
    assert wrapped.written({"lam": 2.0, "steps": 4}) == "awp:gamma=0.01+mart:lam=2,steps=4"
    assert Choice("standard").written({}) == "standard"
    assert own_settings(recipe, [both]) is None
    own = own_settings(recipe, choices(["paper"], recipe))
    assert own == Settings("paper", 3e-3, 0.0)


def test_the_same_seed_and_trials_give_the_same_suggestion() -> None:
    made = choices(["trades", "mart"], load_recipe())
    done = [trial(number, number) for number in range(1, 9)]
    first, _ = Space(made, 3e-3, seed=0).suggest(done)
    again, _ = Space(made, 3e-3, seed=0).suggest(done)
    other, _ = Space(made, 3e-3, seed=1).suggest(done)
    fewer, _ = Space(made, 3e-3, seed=0).suggest(done[:-1])
    assert first == again
    assert first not in (other, fewer)
    assert 3e-3 / 8 <= first.learning_rate <= 3e-3 * 4


def test_a_trial_below_the_median_of_the_others_is_pruned() -> None:
    space = Space(choices(["trades"], load_recipe()), 3e-3, seed=0)
    done = [trial(number, 50 + number, 0.3, 0.5) for number in range(1, 6)]
    assert _ended(space.suggest(done)[1], 20, 30)
    assert not _ended(space.suggest(done)[1], 20, 60)
    assert not _ended(space.suggest(done)[1], 20)  # the first round is not compared
    assert not _ended(space.suggest(done[:2])[1], 20, 30)  # nor with few trials
    assert not _ended(space.unpruned(done), 20, 30)
    rejected = TrainProgress(20, 1.0, rounds_at(60, 60, outcome="below floor"))
    pruning = space.suggest(done)[1]
    assert str(pruning.reason(rejected)).startswith(f"{PRUNED}(round 2): 0.0 %")


def _ended(pruning: Pruning, *worst: int) -> bool:
    reasons = [
        pruning.reason(TrainProgress(10, 1.0, rounds_at(*worst[: number + 1])))
        for number in range(len(worst))
    ]
    assert all(reason is None for reason in reasons[:-1])
    return reasons[-1] is not None


def test_importance_needs_some_finished_trials() -> None:
    space = Space(choices(["trades"], load_recipe()), 3e-3, seed=0)
    done = [trial(number, 10 * number) for number in range(1, 9)]
    shares = space.importance(done)
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert space.importance(done[:7]) == {}
    assert space.importance([trial(number, 10) for number in range(1, 9)]) == {}


def test_the_best_trial_is_a_finished_one_if_there_is_one() -> None:
    def best(*trials: Trial) -> int:
        study = TuningStudy(
            data="digits", data_hash="", threat="linf:0.1", goal="robust", recipe="default",
            model="strided_cnn", objectives=["trades"], judged_by=["pgd-20"], n=100, seed=0,
            command="", tempering="", optuna="", processor="", threads=1, trials=list(trials),
        )  # fmt: skip
        assert study.best is not None
        return study.best.number

    assert best(trial(1, 50), trial(2, 60), trial(3, 60)) == 2
    assert best(trial(1, 50), trial(2, 60, state="pruned")) == 1
    assert best(trial(1, 50, state="pruned"), trial(2, 60, state="stopped")) == 2
