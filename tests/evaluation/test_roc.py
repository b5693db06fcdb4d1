"""ROC curves keep ends, order and area."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tempering.evaluation.detector_measures import detector_report
from tempering.evaluation.roc import roc_points


def area(points: list[tuple[float, float]]) -> float:
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


@pytest.mark.parametrize("levels", [4, 1000])
def test_the_area_under_the_points_is_auroc(levels: int) -> None:
    draw = torch.Generator().manual_seed(0)
    clean = torch.randint(0, levels, (30,), generator=draw).float()
    adv = torch.randint(levels // 4, levels, (20,), generator=draw).float()
    points = roc_points(clean, adv)
    assert area(points) == pytest.approx(detector_report(clean, adv, 0.5).auroc, abs=1e-5)


def test_a_long_curve_is_thinned_between_its_ends() -> None:
    draw = torch.Generator().manual_seed(1)
    clean, adv = torch.randn(4000, generator=draw), torch.randn(4000, generator=draw) + 1
    points = roc_points(clean, adv)
    assert len(points) <= 100
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(points))
    assert area(points) == pytest.approx(detector_report(clean, adv, 0.5).auroc, abs=0.005)


def test_scores_that_are_all_equal_are_the_diagonal() -> None:
    assert roc_points(torch.zeros(3), torch.zeros(2)) == [(0.0, 0.0), (1.0, 1.0)]
