"""The bound on poisons against an adversary that moves votes."""

from __future__ import annotations

import itertools

import torch

from tempering.certification.poisoning import poisons_withstood, voted


def worst(votes: list[int]) -> int:
    """The most votes that may move, by trying: all go from the winner to one other class."""
    first = max(range(len(votes)), key=lambda c: (votes[c], -c))
    for moved in itertools.count(1):
        for other in set(range(len(votes))) - {first}:
            left = min(moved, votes[first])
            tally = list(votes)
            tally[first] -= left
            tally[other] += left
            if max(range(len(tally)), key=lambda c: (tally[c], -c)) != first:
                return moved - 1
    raise AssertionError


def test_the_bound_is_that_of_the_worst_votes() -> None:
    rows = [
        [a, b, c, 7 - a - b - c]
        for a, b, c in itertools.product(range(8), repeat=3)
        if a + b + c <= 7
    ]
    bounds = poisons_withstood(torch.tensor(rows))
    assert bounds.tolist() == [worst(row) for row in rows]
    assert int(bounds.max()) == 3


def test_the_smaller_class_wins_a_tie() -> None:
    assert voted(torch.tensor([[3, 3, 1], [1, 3, 3], [0, 0, 7]])).tolist() == [0, 1, 2]
