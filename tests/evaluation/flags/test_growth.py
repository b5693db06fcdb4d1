"""Accuracy against eps that cannot be true."""

from collections.abc import Sequence

import pytest

from tempering.attacks import FGSM
from tempering.evaluation import accuracy_curve, inspect
from tempering.evaluation.flags import growth
from tests.evaluation.flags.made import ONE, measurement
from tests.evaluation.toys import THREAT, Scripted, cloud, context, each_attack, linear, target


@pytest.mark.parametrize(
    ("hits", "raised"), [([90, 60, 30], False), ([90, 60, 75], True), ([90, 30, 31], False)]
)
def test_accuracy_that_rises_is_flagged(hits: Sequence[int], raised: bool) -> None:
    sizes = zip(hits, (0.1, 0.2, 0.3), strict=True)
    runs = [measurement(hit, 100, eps=eps, threat=f"linf:{eps}") for hit, eps in sizes]
    flag = growth.rises_with_eps(runs[::-1])
    assert (flag is not None) == raised
    if flag is not None:
        assert "60.0 %" in flag.evidence
        assert "linf:0.2" in flag.evidence
        assert "75.0 %" in flag.evidence
    one_step = [run.model_copy(update=ONE) for run in runs]
    assert growth.rises_with_eps(one_step) is None, "one step overshoots by nature"
    others = [run.model_copy(update={"weights": str(at)}) for at, run in enumerate(runs)]
    assert growth.rises_with_eps(others) is None, "of three models"


@pytest.mark.parametrize(
    ("hits", "eps", "raised"), [(30, 0.9, True), (10, 0.9, False), (30, 0.7, False)]
)
def test_accuracy_that_stays_up_is_flagged(hits: int, eps: float, raised: bool) -> None:
    last = measurement(hits, 100, eps=eps, threat=f"linf:{eps}", protocol="curve")
    flag = growth.does_not_fall([last], reaches_grey=0.8, largest_class=0.12)
    assert (flag is not None) == raised


def test_a_curve_that_cannot_be_true_is_flagged() -> None:
    data = cloud()
    here, judged = context(data), target(linear(), data)
    found = each_attack(here, judged, THREAT, [FGSM()])
    for attack, raised in ((Scripted(), True), (FGSM(), False)):
        points = accuracy_curve(here, judged, THREAT, [0.1, 0.5], attacks=[attack])
        flags = inspect(here, found, sweep=[point.measurement for point in points])
        assert ("accuracy does not fall" in {flag.name for flag in flags}) == raised
