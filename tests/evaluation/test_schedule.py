"""The order of attacks, learned from what they broke."""

import torch

from tempering.evaluation.schedule import Tried, in_order


def tried(name: str, broken: str, passes: int) -> Tried:
    return Tried(name, torch.tensor([sign == "1" for sign in broken]), passes)


def names(*attacks: Tried) -> list[str]:
    return [place.name for place in in_order(attacks)]


def test_what_breaks_most_for_its_passes_goes_first() -> None:
    cheap, dear = tried("cheap", "110000", 12), tried("dear", "111100", 60)
    last = tried("last", "111110", 6000)
    assert names(last, dear, cheap) == ["cheap", "dear", "last"]


def test_what_breaks_nothing_more_is_left_out() -> None:
    first, same = tried("first", "110000", 12), tried("same", "110000", 24)
    last = tried("last", "111111", 6000)
    assert names(first, same, last) == ["first", "last"]


def test_the_longest_has_the_last_word_even_if_it_broke_nothing() -> None:
    last = tried("last", "000000", 6000)
    assert names(tried("none", "000000", 6), last) == ["last"]
    places = in_order([tried("some", "100000", 6), last])
    assert [(place.broke, place.passes) for place in places] == [(1, 1.0), (0, 1000.0)]


def test_gains_are_counted_on_what_is_left() -> None:
    one, two = tried("one", "111000", 30), tried("two", "110110", 60)
    last = tried("last", "111111", 6000)
    assert [place.broke for place in in_order([two, one, last])] == [3, 2, 1]
