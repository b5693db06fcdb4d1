"""STRIP and Gram statistics tell images with a trigger from clean ones."""

import pytest
import torch
from torch import nn

from tempering.core.errors import DataError, ModelError
from tempering.core.protocols import Detector
from tempering.defenses import DetectorSamples, Gram, Strip, scores_of
from tempering.defenses.gram_matrices import gram_features
from tempering.evaluation import detector_report
from tests.poisoning.models.planted import TARGET, backdoored, images, trigger


@pytest.mark.parametrize("kind", [Strip, Gram])
def test_triggered_images_score_higher_than_clean_ones(kind: type[Detector]) -> None:
    clean, test = images().clean, images().test
    detector = kind(backdoored()).fit(DetectorSamples(clean.x, clean.y))
    x = test.keep(test.y != TARGET).x
    report = detector_report(scores_of(detector, x), scores_of(detector, trigger().stamp(x)), 0.0)
    assert report.auroc > 0.95


def net(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, classes))


def pixels(n: int = 60) -> DetectorSamples:
    draw = torch.Generator().manual_seed(0)
    return DetectorSamples(torch.rand(n, 1, 4, 4, generator=draw), torch.arange(n) % 3)


def test_strip_is_the_negative_entropy_of_predictions_on_sums() -> None:
    samples, network = pixels(), net()
    detector = Strip(network, overlays=4).fit(samples)
    x = samples.x[:5]
    sums = (x[:, None] + detector.kept).clamp(0, 1)
    p = network(sums.flatten(0, 1)).softmax(1)
    expected = (p * p.log()).sum(1).view(5, 4).mean(1)
    torch.testing.assert_close(detector(x), expected)
    with pytest.raises(ModelError, match=r"images of shape \(1, 2, 2\) for Strip"):
        detector(torch.rand(2, 1, 2, 2))
    with pytest.raises(DataError, match="60 samples: give at least 61"):
        Strip(network, overlays=61).fit(samples)
    with pytest.raises(ModelError, match="overlays 0: give at least 1"):
        Strip(network, overlays=0)


def test_gram_counts_what_lies_outside_the_range_of_the_predicted_class() -> None:
    samples, network = pixels(), net()
    detector = Gram(network, width=1.0).fit(samples)
    features = network[:3](samples.x)
    rows, columns = torch.triu_indices(6, 6)
    entries = features[:, rows] * features[:, columns]
    y = network(samples.x).argmax(1)
    away = (entries - detector.medians[y]).abs() / detector.spreads[y] - 1
    torch.testing.assert_close(detector(samples.x), away.clamp_min(0).square().mean(1).log1p())
    part = entries[samples.y == 1]
    torch.testing.assert_close(detector.medians[1], part.median(0).values)
    floor = 0.1 * entries.std(0)
    expected = part.std(0).maximum(floor).maximum(0.01 * entries.std(0).mean())
    torch.testing.assert_close(detector.spreads[1], expected)


def test_gram_refuses_what_it_cannot_learn_from() -> None:
    samples = pixels()
    few = DetectorSamples(samples.x[:6], samples.y[:6])
    with pytest.raises(DataError, match="2 samples of class 0: give at least 5 a class"):
        Gram(net()).fit(few)
    with pytest.raises(DataError, match="features do not vary"):
        Gram(net()).fit(DetectorSamples(torch.zeros_like(samples.x), samples.y))
    with pytest.raises(ModelError, match="powers 0, width 2"):
        Gram(net(), powers=0)


def test_powers_of_spatial_features_have_matrices_of_their_own() -> None:
    features = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    entries = gram_features(features, powers=2)
    flat = features.flatten(2)
    second = ((flat[:, 0] ** 2 * flat[:, 1] ** 2).mean(1)) ** 0.5
    torch.testing.assert_close(entries[:, 7], second, atol=1e-4, rtol=1e-4)
    assert gram_features(torch.rand(2, 300), powers=4).shape == (2, 128 * 129 // 2)
