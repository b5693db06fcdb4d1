"""The spread over training seeds."""

import pytest

from tempering.core.errors import UsageError
from tempering.core.records import Bounds, Summary
from tempering.paper.stability import Spread, spread


def _run(seed: int, clean: int, robust: int) -> Summary:
    bounds = Bounds(lower=0.0, upper=robust / 200, interval=(0.0, 1.0))
    return Summary(
        data="mnist", threat="linf:0.3", n=200, clean_accuracy=clean / 200,
        clean_interval=(0.0, 1.0), robust_accuracy=bounds, attacks={}, model="strided_cnn",
        seed=seed, seconds=1.0,
    )  # fmt: skip


def test_spread_over_seeds() -> None:
    over_seeds = spread([_run(0, 196, 160), _run(1, 198, 170), _run(2, 194, 180)])
    assert over_seeds["clean"].mean == pytest.approx(0.98)
    assert over_seeds["clean"].deviation == pytest.approx(0.01)
    assert (over_seeds["robust"].low, over_seeds["robust"].high) == (0.8, 0.9)
    assert over_seeds["robust"].runs == 3
    assert Spread.of([0.5]).deviation == 0


def test_a_spread_of_runs_that_do_not_compare_is_refused() -> None:
    with pytest.raises(UsageError, match="whose seeds differ"):
        spread([_run(0, 190, 100), _run(0, 190, 101)])
    other = _run(1, 190, 100).model_copy(update={"threat": "l2:2"})
    with pytest.raises(UsageError, match="same data, threat and n"):
        spread([_run(0, 190, 100), other])
    with pytest.raises(UsageError, match="give the summary of at least one"):
        spread([])
