"""Stop rules on rounds that were made by hand."""

import pytest

from tempering.core.records import Round
from tempering.training.settings import Stopping
from tempering.training.stopping import (
    AnyOf,
    Budget,
    GainAtLeast,
    MaxIterations,
    Plateau,
    StopRule,
    TrainProgress,
)
from tests.training.toys import round_


def progress(
    rounds: list[Round], steps: int = 10, seconds: float = 1.0, baseline: float = 0.0
) -> TrainProgress:
    return TrainProgress(steps, seconds, rounds, baseline)


def rounds(*worst: float, rolled_back: tuple[int, ...] = ()) -> list[Round]:
    return [
        round_(number, value, outcome="rolled back" if number in rolled_back else "kept")
        for number, value in enumerate(worst)
    ]


@pytest.mark.parametrize(("steps", "stops"), [(0, False), (9, False), (10, True), (11, True)])
def test_max_iterations_counts_steps(steps: int, stops: bool) -> None:
    reason = MaxIterations(10).reason(progress([], steps))
    assert (reason is not None) == stops
    if reason:
        assert reason == f"MaxIterations(10): {steps} steps done"


def test_gain_at_least_looks_at_the_last_round_alone() -> None:
    rule = GainAtLeast(0.125)
    assert rule.reason(progress([], baseline=0.4)) is None
    assert rule.reason(progress(rounds(0.52), baseline=0.4)) is None
    assert rule.reason(progress(rounds(0.6, 0.45), baseline=0.4)) is None
    assert rule.reason(progress(rounds(0.525), baseline=0.4)) == (
        "GainAtLeast(0.125): 0.125 gained over the starting model"
    )


def test_a_round_that_was_rolled_back_gains_nothing() -> None:
    rolled = round_(0, 0.9, outcome="rolled back")
    assert GainAtLeast(0.1).reason(progress([rolled])) is None


@pytest.mark.parametrize(
    ("worst", "stops"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.5], False),
        ([0.5, 0.5, 0.4], True),
        ([0.5, 0.5, 0.6], False),
        ([0.5, 0.4, 0.6, 0.6], False),
        ([0.5, 0.4, 0.6, 0.6, 0.3], True),
        ([0.0, 0.0, 0.0], True),
    ],
)
def test_plateau_counts_rounds_since_the_best(worst: list[float], stops: bool) -> None:
    reason = Plateau(2, 0.0).reason(progress(rounds(*worst)))
    assert (reason is not None) == stops
    if reason:
        best = 100 * max(worst)
        assert reason == (
            f"Plateau(2, 0): 2 rounds without a gain over {best:.1f} % worst case on validation"
        )


def test_plateau_waits_for_a_round_above_the_floor() -> None:
    below = [round_(number, 0.1 * number, outcome="below floor") for number in range(5)]
    assert Plateau(2, 0.0).reason(progress(below)) is None
    assert Plateau(2, 0.0).reason(progress([*below, *rounds(0.5, 0.4)])) is None
    assert Plateau(2, 0.0).reason(progress([*below, *rounds(0.5, 0.4, 0.3)])) is not None


def test_plateau_wants_a_gain_of_its_size() -> None:
    slow = rounds(0.50, 0.51, 0.52)
    assert Plateau(2, 0.0).reason(progress(slow)) is None
    assert Plateau(2, 0.05).reason(progress(slow)) is not None


def test_slow_gains_add_up_against_the_best_that_counted() -> None:
    # 0.53 is 0.03 over 0.50: the gain counts, though each step was smaller than 0.025
    assert Plateau(2, 0.025).reason(progress(rounds(0.50, 0.52, 0.53))) is None


def test_a_round_that_was_rolled_back_is_no_gain() -> None:
    assert Plateau(2, 0.0).reason(progress(rounds(0.5, 0.9, 0.4, rolled_back=(1,)))) is not None


@pytest.mark.parametrize(("seconds", "stops"), [(0.0, False), (59.9, False), (60.0, True)])
def test_budget_counts_seconds(seconds: float, stops: bool) -> None:
    reason = Budget(60).reason(progress([], seconds=seconds))
    assert reason == ("Budget(60 s): 60 s spent" if stops else None)


def test_the_first_rule_that_speaks_gives_the_reason() -> None:
    rules: tuple[StopRule, ...] = (GainAtLeast(0.5), MaxIterations(5), Budget(0.5))
    reason = AnyOf(rules).reason(progress(rounds(0.1), steps=5))
    assert reason is not None
    assert reason.startswith("MaxIterations(5)")
    assert AnyOf(rules[:1]).reason(progress(rounds(0.1))) is None
    assert AnyOf(()).reason(progress([])) is None


def test_a_recipe_asks_for_rules_by_naming_them() -> None:
    assert Stopping(max_iterations=7).rule() == AnyOf((MaxIterations(7),))
    everything = Stopping(
        max_iterations=7,
        gain_at_least=0.0,
        plateau_rounds=3,
        plateau_gain=0.01,
        budget_seconds=5.0,
    )
    assert set(everything.rule().rules) == {
        MaxIterations(7),
        GainAtLeast(0.0),
        Plateau(3, 0.01),
        Budget(5.0),
    }


def test_a_plateau_names_rounds_below_the_floor() -> None:
    told = Plateau(2, 0.0).reason(progress(rounds(0.5, 0.6, 0.4, rolled_back=(1,))))
    assert told is not None
    assert told.endswith("on validation, 1 of them below the floor of clean accuracy")
