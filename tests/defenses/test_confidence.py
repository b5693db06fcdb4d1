"""Temperature, conformal sets and abstention by them, against closed forms."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from tempering.core.errors import DataError, ModelError
from tempering.defenses import Conformal, DetectorSamples, Energy, MaxSoftmax, fit_detector
from tempering.defenses.confidence import conformal_quantile
from tempering.defenses.temperature import calibration_error, fit_temperature
from tests.defenses.detectors import digits, network


class Passed(nn.Module):
    """Images are logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def drawn(n: int, seed: int = 0) -> DetectorSamples:
    """Logits three times too large, with labels drawn from the right probabilities."""
    draw = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(n, 5, generator=draw)
    y = torch.multinomial(logits.softmax(1), 1, generator=draw)[:, 0]
    return DetectorSamples(3 * logits.view(n, 1, 1, 5), y)


def test_the_temperature_has_the_least_cross_entropy() -> None:
    samples = drawn(2000)
    logits = samples.x.flatten(1)

    def loss(temperature: float) -> float:
        return float(nn.functional.cross_entropy(logits.double() / temperature, samples.y))

    found = fit_temperature(logits, samples.y)
    assert found == pytest.approx(minimize_scalar(loss, bounds=(0.1, 10)).x, rel=1e-3)
    assert found == pytest.approx(3, rel=0.1)
    scaled = calibration_error(logits, samples.y, found)
    assert scaled < 0.03 < 0.1 < calibration_error(logits, samples.y)


def test_the_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    logits = torch.tensor([[0.9, 0.1]] * 10 + [[0.3, 0.7]] * 10).log()
    y = torch.tensor([0] * 7 + [1] * 3 + [1] * 7 + [0] * 3)
    assert calibration_error(logits, y) == pytest.approx(0.1, abs=1e-6)


def test_sets_hold_the_true_class_as_often_as_was_asked_for() -> None:
    calibration, test = drawn(2000), drawn(4000, seed=1)
    for alpha in (0.05, 0.2):
        detector = Conformal(Passed(), alpha).fit(calibration)
        inside = detector.sets(test.x)
        coverage = float(inside.gather(1, test.y[:, None]).float().mean())
        assert coverage == pytest.approx(1 - alpha, abs=0.025)
        flagged = detector(test.x) > detector.threshold
        assert torch.equal(flagged, inside.sum(1) != 1)


def test_the_quantile_counts_one_sample_more() -> None:
    probabilities = np.linspace(0.05, 0.95, 19)
    logits = torch.tensor(np.stack([probabilities, 1 - probabilities], 1)).log()
    y = torch.zeros(19, dtype=torch.int64)
    assert conformal_quantile(logits, y, alpha=0.1) == pytest.approx(0.9)
    with pytest.raises(DataError, match=r"19 samples .* for alpha 0.01: give at least 99"):
        conformal_quantile(logits, y, alpha=0.01)


def test_scores_are_those_of_scaled_logits() -> None:
    samples = drawn(300)
    for kind, score in (
        (MaxSoftmax, lambda z: 1 - z.softmax(1).max(1).values),
        (Energy, lambda z: -z.exp().sum(1).log()),
    ):
        detector = kind(Passed()).fit(samples)
        scaled = samples.x.flatten(1) / fit_temperature(samples.x.flatten(1), samples.y)
        torch.testing.assert_close(detector(samples.x), score(scaled), atol=1e-4, rtol=1e-4)


def test_they_learn_from_one_half_of_validation_data_and_are_calibrated_on_the_other() -> None:
    data = digits()
    detector = fit_detector("max_softmax", network(), data, "linf:0.2", fpr=0.1)
    held = data.validation
    logits = network()(held.x[::2])
    assert float(detector.temperature) == pytest.approx(
        fit_temperature(logits, held.y[::2]), rel=1e-4
    )
    assert int((detector(held.x[1::2]) > detector.threshold).sum()) == 5


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ModelError, match="alpha 1: give a share above 0 and below 1"):
        Conformal(Passed(), alpha=1)
    with pytest.raises(DataError, match=r"20 samples to calibrate .* give at least 38"):
        Conformal(Passed()).fit(drawn(20))


def test_doubts_of_a_very_sure_network_keep_their_order() -> None:
    logits = torch.tensor([[30.0, 0.0], [40.0, 0.0], [1.0, 0.0]])
    scores = MaxSoftmax(nn.Identity(), sizes=(2,)).doubt(logits)
    expected = 1 - logits.double().softmax(1).amax(1)
    torch.testing.assert_close(scores[:1].double(), expected[:1], rtol=1e-2, atol=0)
    torch.testing.assert_close(scores[2:].double(), expected[2:])
    assert 0 < float(scores[1]) < float(scores[0])
