"""`evaluate` attacks a pipeline as it stands: through declared gradients, and around detectors."""

from torch import Tensor

import tempering as tp
from tempering.attacks import PGD
from tempering.core.backward import true_gradient
from tempering.core.protocols import Detector, Transform
from tempering.core.threats import Linf
from tempering.defenses import Pipeline
from tests.attacks.trained import trained

ATTACKS = [PGD(steps=20)]


class TwoLevels(Transform):
    input_gradient = "straight-through"

    def transform(self, x: Tensor) -> Tensor:
        return x.round()


class Grey(Detector):
    """The share of pixels that are neither black nor white."""

    input_gradient = "approximation"

    def score(self, x: Tensor) -> Tensor:
        return ((x > 0.15) & (x < 0.85)).to(x.dtype).flatten(1).mean(1)

    def approximation(self, x: Tensor) -> Tensor:
        return (x * (1 - x)).flatten(1).mean(1) * 4


def test_a_hidden_gradient_does_not_count_as_robustness() -> None:
    model = Pipeline(trained(), [TwoLevels()], classes=10).eval()
    data, threat = tp.data.load("mnist"), Linf(0.45)
    found = tp.evaluate(model, data, threat, attacks=ATTACKS, samples=20, subset="first")
    assert found.clean_accuracy >= 0.8
    assert found.robust_accuracy.upper <= 0.2
    x, y = data.test.x[:20], data.test.y[:20]
    with true_gradient():
        x_adv = ATTACKS[0](model, x, y, threat)
    assert float((model(x_adv).argmax(1) == y).double().mean()) >= 0.8


def test_an_abstention_is_counted_apart_and_evaded() -> None:
    data, threat = tp.data.load("mnist"), Linf(0.3)
    plain = tp.evaluate(trained(), data, threat, attacks=ATTACKS, samples=20)
    model = Pipeline(trained(), detector=Grey(0.3), classes=10, scale=50.0).eval()
    found = tp.evaluate(model, data, threat, attacks=ATTACKS, samples=20)
    assert plain.robust_with_detection is None
    assert found.robust_with_detection is not None
    assert found.robust_accuracy.upper <= found.robust_with_detection <= 0.5
