"""Thresholds at a false-positive rate."""

import pytest
import torch

from tempering.core.errors import UsageError
from tempering.poisoning.threshold import (
    chance_of,
    mirrored_threshold,
    threshold_by_clean,
    threshold_by_planted,
)

DRAW = torch.Generator().manual_seed(0)
CLEAN = torch.randn(20_000, generator=DRAW)
PLANTED = 6 + torch.randn(400, generator=DRAW)


def test_without_poison_the_rate_is_exact() -> None:
    found = threshold_by_planted(CLEAN, [PLANTED], 0.01)
    assert int((found.value < CLEAN).sum()) == pytest.approx(200, abs=30)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_poison_does_not_use_up_the_rate(share: float) -> None:
    poison = 6 + torch.randn(round(share * len(CLEAN)), generator=DRAW)
    found = threshold_by_planted(torch.cat([CLEAN, poison]), [PLANTED], 0.01)
    assert float((poison > found.value).float().mean()) > 0.98
    assert float((found.value < CLEAN).float().mean()) < 0.017


def test_clean_samples_give_a_conformal_threshold() -> None:
    found = threshold_by_clean(torch.arange(999.0), 0.01)
    assert found.value == 989
    assert found.rank == (999, 990)
    assert chance_of(60, 1000, 0.01, found) < 0.001 < chance_of(15, 1000, 0.01, found)


def test_too_few_clean_samples_for_the_rate_are_refused() -> None:
    with pytest.raises(UsageError, match=r"0.001 of 100 clean samples: give at least 0.0099"):
        threshold_by_clean(torch.arange(100.0), 0.001)


@pytest.mark.parametrize("heavy", [False, True])
def test_other_tails_are_near_the_rate(heavy: bool) -> None:
    draw = torch.rand(20_000, generator=DRAW).clamp(1e-9)
    clean = -draw.log() if heavy else draw.log().neg().sqrt()
    found = threshold_by_planted(clean, [clean.max() + 1 + torch.rand(400, generator=DRAW)], 0.01)
    assert float((clean > found.value).float().mean()) == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_a_mirrored_threshold_does_not_depend_on_how_much_poison_there_is(share: float) -> None:
    poison = 8 + torch.randn(round(share * len(CLEAN)), generator=DRAW)
    found = mirrored_threshold(torch.cat([CLEAN, poison]), 0.01)
    assert float((found.value < CLEAN).float().mean()) < 0.013
    assert float((poison <= found.value).sum()) <= 0.01 * len(poison)


def test_the_error_of_an_estimated_threshold_counts_in_the_probability() -> None:
    draw = torch.Generator().manual_seed(0)
    surprising = 0
    for _ in range(1000):
        clean, other = torch.randn(400, generator=draw), torch.rand(400, generator=draw)
        found = mirrored_threshold(clean, 0.005)
        suspects = int(((clean > found.value) | (other < 0.005)).sum())
        surprising += chance_of(suspects, 400, 0.01, found) < 0.001
    assert surprising <= 12
