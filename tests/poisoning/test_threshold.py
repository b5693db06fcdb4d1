"""Thresholds at a false-positive rate."""

import pytest
import torch

from tempering.core.errors import UsageError
from tempering.poisoning.threshold import chance_of, threshold_by_clean, threshold_by_planted

DRAW = torch.Generator().manual_seed(0)
CLEAN = torch.randn(20_000, generator=DRAW)
PLANTED = 6 + torch.randn(400, generator=DRAW)


def test_without_poison_the_rate_is_exact() -> None:
    found = threshold_by_planted(CLEAN, PLANTED, 0.01)
    assert found.poisoned == 0
    assert int((found.value < CLEAN).sum()) == 200
    assert chance_of(200, len(CLEAN), 0.01, found) > 0.3


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_poison_does_not_use_up_the_rate(share: float) -> None:
    poison = 6 + torch.randn(round(share * len(CLEAN)), generator=DRAW)
    found = threshold_by_planted(torch.cat([CLEAN, poison]), PLANTED, 0.01)
    assert float((poison > found.value).float().mean()) > 0.98
    assert float((found.value < CLEAN).float().mean()) < 0.013
    assert found.poisoned == pytest.approx(share / (1 + share), abs=0.005)


def test_clean_samples_give_a_conformal_threshold() -> None:
    found = threshold_by_clean(torch.arange(999.0), PLANTED, 0.01)
    assert found.value == 989
    assert found.rank == (999, 990)
    assert chance_of(60, 1000, 0.01, found) < 0.001 < chance_of(15, 1000, 0.01, found)


def test_too_few_clean_samples_for_the_rate_are_refused() -> None:
    with pytest.raises(UsageError, match=r"0.001 of 100 clean samples: give at least 0.0099"):
        threshold_by_clean(torch.arange(100.0), PLANTED, 0.001)
