"""Fitting a detector by name, and the samples for it."""

import pytest
import torch
from torch import nn

from tempering.attacks import FGSM, PGD
from tempering.core.errors import DataError, ModelError, UnknownNameError, UsageError
from tempering.defenses import DetectorSamples, Mahalanobis, detector_samples, fit_detector
from tempering.defenses.features import features
from tests.defenses.detectors import ATTACKS, THREAT, digits, fitted, network


def test_every_clean_image_has_one_adversarial_version_of_one_attack() -> None:
    data = digits().train.first(22)
    samples = detector_samples(network(), data, THREAT, ATTACKS)
    x_adv, kind = samples.adversarial()
    assert kind.bincount().tolist() == [0, 6, 6, 5, 5]
    assert samples.attacks == ("fgsm", "bim-5", "pgd-5", "square-10")
    assert bool(THREAT.contains(x_adv, data.x).all())
    assert not any(torch.equal(*pair) for pair in zip(x_adv, data.x, strict=True))
    again, _ = detector_samples(network(), data, THREAT, ATTACKS).adversarial()
    assert torch.equal(again, x_adv)


def test_what_makes_no_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="two attacks called pgd-5"):
        detector_samples(
            network(), digits().train, THREAT, [PGD(steps=5), PGD(steps=5, step_size=0.1)]
        )
    with pytest.raises(UsageError, match="4 attacks for 3 images"):
        detector_samples(network(), digits().train.first(3), THREAT, ATTACKS)


def test_a_seed_decides_the_fit() -> None:
    first, again, other = (
        fit_detector("knn_distance", network(), digits(), "linf:0.2", seed=seed, samples=60)
        for seed in (0, 0, 1)
    )
    x = digits().test.x
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), other(x))


def test_the_model_keeps_its_mode() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 10))
    assert net.training
    fit_detector("mahalanobis", net, digits(), THREAT)
    assert all(module.training for module in net.modules())


def test_what_cannot_be_fitted_is_refused() -> None:
    data = digits()
    with pytest.raises(UnknownNameError, match="did you mean mahalanobis"):
        fit_detector("mahalanobi", network(), data, THREAT)
    with pytest.raises(UsageError, match="squeeze is a transform: give the name of a detector"):
        fit_detector("squeeze", network(), data, THREAT)
    with pytest.raises(UsageError, match=r"options .* do not fit mahalanobis"):
        fit_detector("mahalanobis", network(), data, THREAT, bits=3)
    with pytest.raises(UsageError, match="Discriminator learns from adversarial samples and there"):
        fit_detector("discriminator", network(), data, THREAT)
    with pytest.raises(UsageError, match=r"finest rate is 1/100 = 0.01"):
        fit_detector("mahalanobis", network(), data, THREAT, fpr=0.001)
    with pytest.raises(UsageError, match="fpr 1: give"):
        fit_detector("mahalanobis", network(), data, THREAT, fpr=1)


def test_too_few_samples_are_refused() -> None:
    part = digits().train.first(12)
    clean = DetectorSamples(part.x, part.y)
    with pytest.raises(DataError, match=r"samples of class .: give at least 2 a class"):
        Mahalanobis(network()).fit(clean)
    for name, options in (("knn_distance", {"k": 13}), ("ml_filter", {})):
        both = detector_samples(network(), part, THREAT, [FGSM()])
        detector = type(fitted(name))(
            **({"network": network()} if name[0] == "k" else {}), **options
        )
        with pytest.raises(DataError, match=r"12 samples: give at least (13|20)"):
            detector.fit(both)  # type: ignore[attr-defined]


def test_features_that_are_not_finite_are_refused() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.last((x.flatten(1) - 2).log())
            return out

    for name in ("mahalanobis", "knn_distance"):
        with pytest.raises(ModelError, match="features of Broken for image 0 are not finite"):
            fit_detector(name, Broken(), digits(), THREAT)


def test_features_are_the_input_of_a_layer() -> None:
    x, net = digits().test.x, network()
    hidden = net.get_submodule("hidden")
    assert torch.equal(net.get_submodule("output")(features(net, x)), net(x))
    assert features(net, x, "hidden").shape == (len(x), hidden.in_features)
    with pytest.raises(ModelError, match="has no layer 'hiden': give one of conv1"):
        features(net, x, "hiden")
    with pytest.raises(ModelError, match="ReLU has no linear layer: give layer"):
        features(nn.ReLU(), x)
