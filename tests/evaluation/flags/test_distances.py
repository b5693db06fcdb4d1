"""Smallest changes that were not found."""

import pytest

from tempering.core.records import Count, MinimumNorm
from tempering.evaluation.flags.distances import search_failed


@pytest.mark.parametrize(("hits", "raised"), [(94, True), (95, False), (100, False)])
def test_an_unbounded_attack_that_fails_is_flagged(hits: int, raised: bool) -> None:
    record = MinimumNorm(
        subject="hardened", attack="cw-l2", config={}, norm="l2", n=100,
        found=Count(hits=hits, n=100), median=1.0, within={}, seed=0, weights="w", data_hash="d",
    )  # fmt: skip
    assert (search_failed(record) is not None) == raised
