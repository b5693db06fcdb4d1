"""Measures of detectors against hand counts and scikit-learn."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from tempering.core.errors import DataError, UsageError
from tempering.core.intervals import wilson
from tempering.evaluation import detector_report
from tempering.evaluation.detector_measures import Proportion

CLEAN = torch.tensor([0.1, 0.2, 0.3, 0.9])
ADV = torch.tensor([0.2, 0.6, 0.7, 0.8, 0.95])


def test_counts_are_those_by_hand() -> None:
    report = detector_report(
        CLEAN,
        ADV,
        threshold=0.5,
        clean_correct=torch.tensor([True, True, False, True]),
        adv_correct=torch.tensor([False, False, True, False, False]),
    )
    assert report.clean_rejected == Proportion(1, 4)
    assert report.detected == Proportion(4, 5)
    assert report.clean_accuracy == Proportion(2, 4)
    assert report.strict_robust == Proportion(0, 5)
    assert report.robust_with_detection == Proportion(4, 5)
    assert report.accuracy_on_accepted == Proportion(2, 4)
    assert report.accuracy_end_to_end == Proportion(2 + 4, 9)
    assert report.clean_rejected.interval == wilson(1, 4)
    assert str(Proportion(1, 2)) == "1/2 = 50.0% [9.5%, 90.5%]"
    assert math.isnan(Proportion(0, 0).fraction)


def test_the_area_is_that_of_scikit_learn() -> None:
    draw = torch.Generator().manual_seed(0)
    clean = (torch.randn(300, generator=draw) * 4).round()
    adv = (torch.randn(200, generator=draw) * 4 + 3).round()
    report = detector_report(clean, adv, 0.0)
    labels = [0] * 300 + [1] * 200
    assert report.auroc == pytest.approx(roc_auc_score(labels, torch.cat([clean, adv]).numpy()))
    low, high = report.auroc_interval
    assert low < report.auroc < high
    assert high - low < 0.1
    assert report.clean_accuracy is None


def test_rates_that_clean_images_cannot_show_are_left_open() -> None:
    clean = torch.arange(100) / 100
    adv = torch.tensor([0.985, 0.96, 0.5])
    report = detector_report(clean, adv, 0.9)
    assert report.tpr_at == {0.01: Proportion(0, 3), 0.05: Proportion(2, 3)}
    assert detector_report(clean[::2], adv, 0.9).tpr_at[0.01] is None


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(DataError, match="adversarial score 1 is nan"):
        detector_report(CLEAN, torch.tensor([0.1, float("nan")]), 0.5)
    with pytest.raises(DataError, match=r"clean scores of shape \(0,\)"):
        detector_report(CLEAN[:0], ADV, 0.5)
    with pytest.raises(DataError, match="threshold nan: give a finite score"):
        detector_report(CLEAN, ADV, torch.tensor(float("nan")))
    with pytest.raises(DataError, match=r"adv_correct None: give bool of shape \(5,\)"):
        detector_report(CLEAN, ADV, 0.5, clean_correct=CLEAN > 0)
    with pytest.raises(UsageError, match="fpr 1"):
        detector_report(CLEAN, ADV, 0.5, rates=[1])
