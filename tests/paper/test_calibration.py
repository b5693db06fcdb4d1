"""Calibration: the eps that gives a wanted accuracy, or word that there is none."""

import pytest
import torch

from tempering.attacks import CWL2, FGSM, PGD
from tempering.core.errors import UsageError
from tempering.core.threats import Linf
from tempering.evaluation import measure
from tempering.evaluation.minimum_norm import unbounded
from tempering.paper import calibrate
from tests.evaluation.toys import (
    Centroids,
    Scripted,
    cloud,
    context,
    dataset,
    linear,
    signed_margin,
    target,
    weights,
    worst_margin,
)

DATA = cloud(200, wrong=10)


@pytest.mark.parametrize("wanted", [0.287, 0.5, 0.9])
@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=10)])
def test_the_eps_gives_the_accuracy(attack: FGSM | PGD, wanted: float) -> None:
    model = linear()
    calibration = calibrate(context(DATA), target(model, DATA, "undefended"), attack, wanted)
    assert calibration.eps is not None
    assert calibration.reason == ""
    exact = float((worst_margin(model, DATA, calibration.eps) > 0).double().mean())
    assert calibration.accuracy == pytest.approx(exact)
    assert abs(exact - wanted) <= 0.0051, "one sample of 200 is 0.005"
    record = calibration.result.measurement
    assert (record.protocol, record.eps, record.subject) == ("paper", calibration.eps, "undefended")


def test_what_was_calibrated_can_be_measured_again() -> None:
    judged = target(linear(), DATA)
    calibration = calibrate(context(DATA), judged, FGSM(), 0.4)
    assert calibration.eps is not None
    again = measure(
        context(DATA), judged, FGSM(), Linf(calibration.eps), protocol="paper"
    ).measurement
    assert again.robust == calibration.result.measurement.robust


def test_gray_box_calibration_uses_the_surrogate() -> None:
    model, surrogate = linear(), linear()
    with torch.no_grad():
        surrogate[1].weight[:, :3] = 0.0  # its attacks leave three pixels alone
    judged = target(model, DATA)
    white = calibrate(context(DATA), judged, FGSM(), 0.4)
    gray = calibrate(context(DATA), judged, FGSM(), 0.4, access="gray-surrogate", source=surrogate)
    assert white.eps is not None
    assert gray.eps is not None
    assert gray.eps > white.eps
    assert gray.result.measurement.access == "gray-surrogate"


def test_no_eps_is_a_value() -> None:
    judged = target(linear(), DATA)
    calibration = calibrate(context(DATA), judged, Scripted(), 0.287)
    assert calibration.eps is None
    assert calibration.accuracy == pytest.approx(0.95)
    assert calibration.reason == "not reached up to eps 1"


def test_accuracy_that_is_too_low_already_is_said() -> None:
    calibration = calibrate(context(DATA), target(linear(), DATA), FGSM(), 0.97)
    assert (calibration.eps, calibration.accuracy) == (None, 0.95)
    assert calibration.reason == "accuracy without attack is not above it"


def test_a_jump_over_the_accuracy_is_said() -> None:
    """All samples fall at the same eps, so none leaves half of them."""
    data = dataset(torch.full((50, 1, 1, 1), 0.2), torch.zeros(50).long())
    calibration = calibrate(
        context(data), target(Centroids(0.2, 0.8, flag=False), data), FGSM(), 0.5
    )
    assert calibration.eps is None
    assert "jumps past it near eps 0.3" in calibration.reason
    assert calibration.accuracy in (0.0, 1.0)


def test_one_run_of_a_minimum_norm_attack_answers_for_all_eps() -> None:
    data = cloud(100, wrong=5, low=0.3, high=0.7)
    model = linear()
    attack = CWL2(searches=6, iterations=150)
    calibration = calibrate(context(data), target(model, data), attack, 0.3)
    assert calibration.eps is not None
    assert calibration.accuracy == pytest.approx(0.3)
    w, _ = weights(model)
    exact = (signed_margin(model, data).clamp_min(0) / w.norm()).sort().values
    assert calibration.eps == pytest.approx(float(exact[69]), rel=0.05)
    threat = unbounded("l2", data.x.shape[1:]).with_eps(calibration.eps)
    again = measure(context(data), target(model, data), attack, threat).measurement
    assert again.robust == calibration.result.measurement.robust
    assert calibration.result.measurement.threat == str(threat)


def test_a_minimum_norm_attack_that_finds_too_little_has_no_eps() -> None:
    data = cloud(40, wrong=4, low=0.3, high=0.7)
    weak = CWL2(searches=1, iterations=1)
    calibration = calibrate(context(data), target(linear(), data), weak, 0.2)
    assert calibration.eps is None
    assert calibration.reason == "not reached: the attack found too few adversarial samples"
    assert calibration.accuracy == pytest.approx(0.9)


@pytest.mark.parametrize("wanted", [0.0, 1.0, 28.7, float("nan")])
def test_what_is_no_accuracy_is_refused(wanted: float) -> None:
    with pytest.raises(UsageError, match=r"give a fraction, such as 0\.287"):
        calibrate(context(DATA), target(linear(), DATA), FGSM(), wanted)
