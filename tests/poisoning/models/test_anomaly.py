"""The anomaly index against its formula, and what chance alone gives."""

import numpy as np
import pytest
import torch

from tempering.core.errors import UsageError
from tempering.poisoning.models.anomaly import anomaly_index, chance, indices, limit, stands_apart


def test_the_index_is_the_deviation_below_the_median() -> None:
    values = np.random.default_rng(0).normal(size=10)
    spread = 1.4826 * np.median(np.abs(values - np.median(values)))
    expected = (np.median(values) - values) / spread
    np.testing.assert_allclose(anomaly_index(torch.tensor(values)), expected, rtol=1e-5)
    assert anomaly_index(torch.full((5,), 2.0)).tolist() == [0] * 5


def test_so_many_clean_models_exceed_the_limit_as_were_asked_for() -> None:
    draws = torch.randn(20_000, 10, generator=torch.Generator().manual_seed(1))
    share = float((anomaly_index(draws).amax(1) >= limit(10, 0.1)).double().mean())
    assert share == pytest.approx(0.1, abs=0.01)
    assert chance(limit(10, 0.1), 10) == pytest.approx(0.1, abs=0.001)


def test_two_classes_are_never_suspect() -> None:
    assert chance(indices([1.0, 700.0])[0][0], 2) == 1


def test_a_tiny_trigger_stands_out_by_its_logarithm_alone() -> None:
    sizes = [4.0, 190.0, 63.0, 36.0, 91.0, 34.0, 87.0, 96.0, 33.0, 106.0]
    of_logarithms, of_sizes = indices(sizes)
    assert of_logarithms[0] > limit(10, 0.1)
    assert of_sizes[0] < 2


def test_with_few_classes_the_ratio_of_the_two_smallest_decides() -> None:
    assert stands_apart([34.3, 56.5, 4.6, 50.9]) == [False, False, True, False]
    assert stands_apart([4.0, 17.0]) == [True, False]
    assert not any(stands_apart([50.1, 62.4, 63.1, 61.6]))  # deviations alone: index 11
    assert not any(stands_apart([4.0, 5.0, 60.0]))


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="share 0: give one above 0 and below 1"):
        limit(10, 0)
    with pytest.raises(UsageError, match="1 class: give at least 2"):
        chance(1.0, 1)
