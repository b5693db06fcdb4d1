"""The robustness score rho (eq. 6) and the stop rule based on it."""

import pytest

from tempering.paper import rho, rho_at_least
from tempering.training.stopping import TrainProgress
from tests.training.toys import round_


@pytest.mark.parametrize(("before", "after", "score"), [(0.25, 0.75, 0.5), (0.5, 0.25, -0.25)])
def test_rho_is_accuracy_after_minus_accuracy_before(
    before: float, after: float, score: float
) -> None:
    assert rho(before, after) == score


@pytest.mark.parametrize(("worst", "stops"), [(0.5, False), (0.625, True), (0.75, True)])
def test_the_stop_rule_is_rho_on_validation_data(worst: float, stops: bool) -> None:
    progress = TrainProgress(10, 1.0, [round_(0, worst)], baseline=0.5)
    assert (rho_at_least(0.125).reason(progress) is not None) == stops
    assert (rho(0.5, worst) >= 0.125) == stops
