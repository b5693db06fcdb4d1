"""The threshold at a false-positive rate."""

import pytest
import torch
from torch import Tensor

from tempering.core.errors import DataError, ModelError, UsageError
from tempering.core.protocols import Detector
from tempering.defenses import calibrate, scores_of
from tempering.defenses.calibration import threshold_at


class FirstPixel(Detector):
    def score(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, 0]


def images(values: list[float]) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(("fpr", "flagged"), [(0.1, 1), (0.19, 1), (0.2, 2), (0.3, 3), (0.9, 9)])
def test_as_many_are_flagged_as_allowed(fpr: float, flagged: int) -> None:
    detector, x = FirstPixel(), images([number / 10 for number in range(10)])
    value = calibrate(detector, x, fpr)
    assert value == float(detector.threshold)
    assert int((scores_of(detector, x) > detector.threshold).sum()) == flagged


def test_the_spread_of_clean_scores_is_kept() -> None:
    detector = FirstPixel()
    assert float(detector.clean_spread) == 1
    calibrate(detector, images([0.0, 0.2, 0.4, 0.6]), 0.25)
    assert float(detector.clean_spread) == pytest.approx(0.05**0.5)
    calibrate(detector, images([0.5, 0.5]), 0.5)
    assert float(detector.clean_spread) == 1


def test_equal_scores_are_flagged_together_or_not_at_all() -> None:
    scores = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert int((scores > threshold_at(scores, 0.25)).sum()) == 0
    assert int((scores > threshold_at(scores, 0.5)).sum()) == 2


@pytest.mark.parametrize("fpr", [0, 1, -0.1, 2, float("nan")])
def test_a_rate_that_is_none_is_refused(fpr: float) -> None:
    with pytest.raises(UsageError, match="give a false-positive rate between 0 and 1"):
        calibrate(FirstPixel(), images([0.1] * 10), fpr)


def test_a_rate_that_is_too_fine_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"fpr 0.01 on 50 clean images: the finest rate is 1/50 = 0.02: .* 100 im"
    ):
        calibrate(FirstPixel(), images([0.1] * 50), 0.01)
    with pytest.raises(UsageError, match="on 0 clean images: there is nothing to measure"):
        calibrate(FirstPixel(), images([]), 0.5)


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelError, match="score of FirstPixel for image 1 is nan"):
        calibrate(FirstPixel(), images([0.1, float("nan"), 0.3]), 0.5)
    with pytest.raises(DataError, match=r"validation images of shape \(3,\)"):
        calibrate(FirstPixel(), torch.zeros(3), 0.5)


def test_scores_in_a_column_are_calibrated_like_scores_in_a_row() -> None:
    class Column(Detector):
        def score(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :1]

    x = images([0.4, 0.9, 0.1, 0.7, 0.3])
    assert calibrate(Column(), x, 0.2) == calibrate(FirstPixel(), x, 0.2) == pytest.approx(0.8)


def test_a_detector_that_fails_or_gives_no_score_an_image_is_refused_in_one_line() -> None:
    class Fails(Detector):
        def score(self, x: Tensor) -> Tensor:
            raise ValueError("boom\nand more")

    class Many(Detector):
        def score(self, x: Tensor) -> Tensor:
            return torch.cat([x, x], 1).flatten(1)

    x = images([0.1] * 10)
    with pytest.raises(ModelError, match=r"Fails fails on images .* ValueError: boom") as caught:
        calibrate(Fails(), x, 0.2)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"Many returned \(10, 2\) for 10 images"):
        calibrate(Many(), x, 0.2)
