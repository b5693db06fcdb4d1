"""The flag of a training whose rounds are all below the clean floor."""

from tempering.app.training_flags import training_flags
from tests.training.toys import round_


def test_rounds_that_are_all_below_the_floor_are_flagged() -> None:
    below = [round_(number, 0.5, outcome="below floor") for number in range(3)]
    (flag,) = training_flags(below, 1.0)
    assert flag.name == "no round above the clean floor"
    assert flag.evidence == "at most 100.0 % in 3 rounds, floor 100.0 %"
    assert "clean_floor" in flag.remedy


def test_a_round_above_the_floor_raises_no_flag() -> None:
    rounds = [round_(0, 0.5, outcome="below floor"), round_(1, 0.6, outcome="best")]
    assert training_flags(rounds, 0.9) == []
    assert training_flags([], 0.9) == []
