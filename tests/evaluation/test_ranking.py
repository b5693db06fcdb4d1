"""The order of attacks, learned from what they broke."""

import torch

from tempering.evaluation.ranking import RankingTrial, in_order


def tried(name: str, broken: str, passes: int) -> RankingTrial:
    return RankingTrial(name, torch.tensor([sign == "1" for sign in broken]), passes)


def names(*attacks: RankingTrial) -> list[str]:
    return [place.trial.name for place in in_order(attacks)]


def test_what_breaks_most_for_its_passes_goes_first() -> None:
    cheap, dear = tried("cheap", "110000", 12), tried("dear", "111100", 60)
    assert names(dear, cheap) == ["cheap", "dear"]


def test_what_breaks_nothing_more_is_left_out() -> None:
    first, same = tried("first", "110000", 12), tried("same", "110000", 24)
    none = tried("none", "000000", 6)
    assert names(same, first, none) == ["first"]
    assert names(none) == names() == []


def test_gains_are_counted_on_what_is_left() -> None:
    first, second = tried("one", "111000", 30), tried("two", "110110", 60)
    places = in_order([second, first])
    assert [(place.broke, place.passes) for place in places] == [(3, 5.0), (2, 10.0)]


def test_attacks_of_one_name_are_told_apart() -> None:
    weak, strong = tried("same", "100000", 12), tried("same", "111100", 12)
    assert [place.trial for place in in_order([weak, strong])] == [strong]
