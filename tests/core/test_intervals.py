"""Wilson's interval against an independent implementation."""

import pytest
from scipy import stats

from tempering.core.intervals import wilson


@pytest.mark.parametrize(
    ("hits", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (90, 100), (881, 1000), (1, 1), (0, 1)]
)
def test_the_interval_is_scipys(hits: int, n: int) -> None:
    reference = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_the_interval_holds_its_fraction_and_grows_with_hits() -> None:
    bounds = [wilson(hits, 40) for hits in range(41)]
    assert all(low <= hits / 40 <= high for hits, (low, high) in enumerate(bounds))
    assert bounds == sorted(bounds)
    assert [high for _, high in bounds] == sorted(high for _, high in bounds)


def test_the_interval_narrows_with_trials() -> None:
    widths = [high - low for low, high in (wilson(9 * k, 10 * k) for k in (1, 10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)


def test_no_trials_say_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "n"), [(11, 10), (-1, 10), (1, 0)])
def test_impossible_counts_are_refused(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"hits {hits} of n {n}"):
        wilson(hits, n)
