"""Paired comparison: closed forms, and an interval that covers as often as it says."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from tempering.core.errors import UsageError
from tempering.core.intervals import wilson
from tempering.evaluation import PairedCounts, compare_paired


def test_verdicts_are_counted_sample_by_sample() -> None:
    first = torch.tensor([True] * 5 + [True] * 3 + [False] * 2 + [False] * 4)
    second = torch.tensor([True] * 5 + [False] * 3 + [True] * 2 + [False] * 4)
    counts = compare_paired(first, second)
    assert counts == PairedCounts(both=5, first=3, second=2, neither=4)
    assert counts.n == 14
    order = torch.randperm(14, generator=torch.Generator().manual_seed(0))
    assert compare_paired(first[order], second[order]) == counts
    assert counts.difference == pytest.approx(1 / 14)
    assert counts.points == pytest.approx(100 / 14)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 2**5),
        (0, 10, 2 / 2**10),
        (3, 3, 1.0),
        (4, 3, 1.0),
        (9, 1, 2 * (1 + 10) / 2**10),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
    ],
)
def test_the_test_is_exact(b: int, c: int, p: float) -> None:
    for both, neither in ((0, 1), (1000, 50)):
        assert PairedCounts(both, b, c, neither).p_value == pytest.approx(p, rel=1e-12)


def test_the_test_rejects_equal_models_no_more_often_than_its_level() -> None:
    for apart in (1, 7, 40, 101):
        splits = np.arange(apart + 1)
        p = np.array([PairedCounts(3, b, apart - b, 3).p_value for b in splits.tolist()])
        for level in (0.01, 0.05, 0.3):
            assert stats.binom.pmf(splits, apart, 0.5)[p <= level].sum() <= level + 1e-12


def test_swapping_the_models_changes_the_sign_alone() -> None:
    counts, other = PairedCounts(70, 15, 4, 11), PairedCounts(70, 4, 15, 11)
    assert counts.p_value == other.p_value
    assert counts.difference == -other.difference
    low, high = counts.interval
    assert other.interval == pytest.approx((-high, -low))


def test_without_a_correlation_the_intervals_add_as_squares() -> None:
    """Where one model is always right there is no correlation: the arms are Wilson's own."""
    low, high = wilson(60, 80)
    counts = PairedCounts(both=60, first=20, second=0, neither=0)
    sure, _ = wilson(80, 80)
    assert counts.interval == pytest.approx(
        (0.25 - math.hypot(1 - sure, high - 0.75), 0.25 + (0.75 - low))
    )


def test_models_that_always_agree_differ_by_little_and_not_by_nothing() -> None:
    """With b = c = 0 and verdicts half and half, Phi is 1 less the correction, 2 / n."""
    n = 200
    low, high = PairedCounts(both=100, first=0, second=0, neither=100).interval
    below, above = (abs(bound - 0.5) for bound in wilson(100, n))
    assert below == pytest.approx(above)
    assert high == pytest.approx(below * math.sqrt(2 * 2 / n))
    assert low == pytest.approx(-high)
    independent = PairedCounts(both=50, first=50, second=50, neither=50).interval
    assert independent[1] == pytest.approx(below * math.sqrt(2))


def test_a_total_difference_stays_within_one() -> None:
    low, high = PairedCounts(both=0, first=12, second=0, neither=0).interval
    assert high == 1.0
    assert 0.5 < low < 1.0
    assert PairedCounts(0, 1, 0, 0).interval[1] == 1.0


@pytest.mark.parametrize(
    "shares", [(0.6, 0.15, 0.05, 0.2), (0.85, 0.06, 0.04, 0.05), (0.3, 0.2, 0.2, 0.3)]
)
def test_the_interval_covers_the_true_difference(shares: tuple[float, ...]) -> None:
    """Exactly, by summing over all tables of 30 samples."""
    n, true = 30, shares[1] - shares[2]
    covered = total = 0.0
    for both, first, second in product(range(n + 1), repeat=3):
        neither = n - both - first - second
        if neither < 0:
            continue
        table = (both, first, second, neither)
        chance = float(stats.multinomial.pmf(table, n, shares)) if _likely(table, shares) else 0.0
        if chance == 0.0:
            continue
        low, high = PairedCounts(*table).interval
        total += chance
        covered += chance * (low <= true <= high)
    assert total > 0.999
    assert 0.945 < covered < 0.995


def _likely(table: tuple[int, ...], shares: tuple[float, ...]) -> bool:
    """Whether no count is further than five deviations from what is expected."""
    n = sum(table)
    return all(
        abs(count - n * share) <= 5 * math.sqrt(n * share * (1 - share))
        for count, share in zip(table, shares, strict=True)
    )


def test_for_many_samples_the_interval_is_that_of_wald() -> None:
    b, c, n = 4000, 2000, 100_000
    counts = PairedCounts(85_000, b, c, n - 85_000 - b - c)
    half = 1.96 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    assert counts.interval == pytest.approx((0.02 - half, 0.02 + half), abs=2e-5)


def test_the_interval_is_that_of_the_papers_example() -> None:
    """Newcombe, 1998: 36 of 50 twice, 12 once, 2 the other way."""
    assert PairedCounts(36, 12, 2, 0).interval == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_it_says_what_it_found() -> None:
    said = str(PairedCounts(both=70, first=20, second=5, neither=5))
    assert said.startswith("+15.0 points [+")
    assert "p = 0.0041 (only the first correct: 20, only the second: 5, of 100)" in said


def test_what_cannot_be_compared_is_refused() -> None:
    yes = torch.ones(3, dtype=torch.bool)
    with pytest.raises(UsageError, match="3 and 2 verdicts: give verdicts of both models"):
        compare_paired(yes, yes[:2])
    with pytest.raises(UsageError, match=r"type torch\.int64 and shape \(3,\): give bool"):
        compare_paired(yes, yes.long())
    with pytest.raises(UsageError, match=r"shape \(1, 3\): give bool of shape \(n,\)"):
        compare_paired(yes[None], yes[None])
    with pytest.raises(UsageError, match=r"counts \(0, 0, 0, 0\): give counts of at least 0"):
        compare_paired(yes[:0], yes[:0])
    with pytest.raises(UsageError, match=r"counts \(5, -1, 0, 0\)"):
        PairedCounts(5, -1, 0, 0)
