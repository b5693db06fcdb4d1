"""Results that cannot be true, and numbers over too few samples."""

from collections.abc import Sequence

import pytest
import torch

from tempering.attacks import FGSM
from tempering.core.errors import CertificateError
from tempering.core.records import Count, MinimumNorm
from tempering.evaluation import accuracy_curve, inspect
from tempering.evaluation.flags import check_certificates, impossible_results
from tests.evaluation.flags.made import ONE, measurement
from tests.evaluation.toys import THREAT, Scripted, cloud, context, each_attack, linear, target


@pytest.mark.parametrize(
    ("hits", "raised"),
    [([90, 60, 30], False), ([90, 60, 75], True), ([90, 30, 31], False)],
)
def test_accuracy_that_rises_is_flagged(hits: Sequence[int], raised: bool) -> None:
    sizes = zip(hits, (0.1, 0.2, 0.3), strict=True)
    runs = [measurement(hit, 100, eps=eps, threat=f"linf:{eps}") for hit, eps in sizes]
    flag = impossible_results.check_rise(runs[::-1])
    assert (flag is not None) == raised
    if flag is not None:
        assert "60.0 %" in flag.evidence
        assert "linf:0.2" in flag.evidence
        assert "75.0 %" in flag.evidence
    one_step = [run.model_copy(update=ONE) for run in runs]
    assert impossible_results.check_rise(one_step) is None, "one step overshoots by nature"
    others = [run.model_copy(update={"weights": str(at)}) for at, run in enumerate(runs)]
    assert impossible_results.check_rise(others) is None, "of three models"


@pytest.mark.parametrize(("rise", "raised"), [(5, False), (15, True)])
def test_a_rise_of_more_than_one_point_is_flagged(rise: int, raised: bool) -> None:
    runs = [measurement(300, 1000, eps=0.1), measurement(300 + rise, 1000, eps=0.2)]
    assert (impossible_results.check_rise(runs) is not None) == raised


@pytest.mark.parametrize(
    ("hits", "eps", "raised"), [(30, 0.9, True), (10, 0.9, False), (30, 0.7, False)]
)
def test_accuracy_that_stays_up_is_flagged(hits: int, eps: float, raised: bool) -> None:
    last = measurement(hits, 100, eps=eps, threat=f"linf:{eps}", protocol="curve")
    flag = impossible_results.check_above_chance([last], gray_distance=0.8, largest_class=0.12)
    assert (flag is not None) == raised


def test_a_curve_that_cannot_be_true_is_flagged() -> None:
    data = cloud()
    here, judged = context(data), target(linear(), data)
    evaluation = each_attack(here, judged, THREAT, [FGSM()])
    for attack, raised in ((Scripted(), True), (FGSM(), False)):
        points = accuracy_curve(here, judged, THREAT, [0.1, 0.5], attacks=[attack])
        flags = inspect(here, evaluation, sweep=[point.measurement for point in points])
        assert ("accuracy does not fall to chance" in {flag.name for flag in flags}) == raised


@pytest.mark.parametrize(("hits", "raised"), [(94, True), (95, False), (100, False)])
def test_a_minimum_norm_attack_that_fails_is_flagged(hits: int, raised: bool) -> None:
    record = MinimumNorm(
        subject="hardened", attack="cw-l2", config={}, norm="l2", n=100,
        found=Count(hits=hits, n=100), median=1.0, within={}, seed=0, weights="w", data_hash="d",
    )  # fmt: skip
    assert (impossible_results.check_minimum_norm(record) is not None) == raised


def test_an_attack_that_beats_a_certificate_raises_and_names_the_samples() -> None:
    certified = torch.tensor([True, True, False, True])
    broken = torch.tensor([True, False, True, True])
    with pytest.raises(
        CertificateError, match=r"pgd-40 broke certified samples 0, 3: an attack broke a certified"
    ):
        check_certificates(certified, broken, "pgd-40")
    with pytest.raises(CertificateError, match=r"samples 10, 40"):
        check_certificates(certified, broken, keys=torch.tensor([10, 20, 30, 40]))
    many = torch.ones(9).bool()
    with pytest.raises(CertificateError, match=r"0, 1, 2, 3, 4 and 4 more"):
        check_certificates(many, many)


def test_what_was_not_certified_may_be_broken() -> None:
    check_certificates(torch.tensor([True, False]), torch.tensor([False, True]))
    check_certificates(torch.zeros(0).bool(), torch.zeros(0).bool())


@pytest.mark.parametrize(("hits", "n", "raised"), [(90, 100, True), (900, 1000, False)])
def test_too_few_samples_are_flagged(hits: int, n: int, raised: bool) -> None:
    flag = impossible_results.check_sample_size("pgd", Count(hits=hits, n=n))
    assert (flag is not None) == raised
    if flag is not None:
        needed = int(flag.remedy.split()[-2])
        low, high = Count(hits=round(0.9 * needed), n=needed).interval
        assert high - low <= 0.05
        assert needed < 1000
