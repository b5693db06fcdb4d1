"""Distances in feature space and in PCA space against closed forms."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import nn

from tempering.core.errors import DataError, ModelError
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.defenses import DetectorSamples, KNNDistance, Mahalanobis, MLFilter
from tempering.defenses.ml_filter import SHARES, _holm
from tests.defenses.detectors import digits, fitted


def identity() -> nn.Module:
    """A network whose features are its pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def pixels(n: int = 90) -> DetectorSamples:
    draw = torch.Generator().manual_seed(0)
    return DetectorSamples(torch.rand(n, 1, 2, 2, generator=draw), torch.arange(n) % 3)


def test_mahalanobis_is_the_distance_to_the_nearest_class() -> None:
    samples = pixels()
    detector = Mahalanobis(identity(), ridge=1e-6).fit(samples)
    flat, y = samples.x.flatten(1).double().numpy(), samples.y.numpy()
    means = np.stack([flat[y == label].mean(0) for label in range(3)])
    rest = flat - means[y]
    inverse = np.linalg.inv(rest.T @ rest / len(rest))
    gaps = flat[:, None] - means
    expected = np.einsum("nci,ij,ncj->nc", gaps, inverse, gaps).min(1)
    np.testing.assert_allclose(detector(samples.x).detach().numpy(), expected, rtol=1e-3)


def test_mahalanobis_takes_features_that_never_vary_but_not_only_such() -> None:
    samples = pixels()
    samples.x[:, :, 0] = 0.5
    assert bool(Mahalanobis(identity()).fit(samples)(samples.x).isfinite().all())
    samples.x[:] = 0.5
    with pytest.raises(DataError, match="features do not vary within classes"):
        Mahalanobis(identity()).fit(samples)
    with pytest.raises(ModelError, match="ridge 0: give more than 0"):
        Mahalanobis(identity(), ridge=0)


def test_knn_distance_is_that_of_the_kth_neighbour() -> None:
    samples = pixels()
    detector = KNNDistance(identity(), k=4).fit(samples)
    flat = samples.x.flatten(1).numpy()
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    expected = np.sort(np.linalg.norm(unit[:, None] - unit, axis=2), 1)[:, 3]
    np.testing.assert_allclose(detector(samples.x).detach().numpy(), expected, atol=1e-5)
    few = KNNDistance(identity(), k=4, samples=20).fit(samples)
    assert few.sizes == (20, 4)
    with pytest.raises(ModelError, match="k 5 of 4 samples: give 1 <= k <= samples"):
        KNNDistance(identity(), k=5, samples=4)
    with pytest.raises(ModelError, match="3 neighbours for k 4"):
        KNNDistance(identity(), k=4, sizes=(3, 4))


def test_the_filter_measures_the_whitened_distance_to_clean_images() -> None:
    samples = pixels()
    x_adv = Linf(0.4).sample(samples.x, RandomStreams.of(0, len(samples.x)))
    both = DetectorSamples(samples.x, samples.y, x_adv, torch.ones_like(samples.y), ("noise",))
    detector = MLFilter(noise=0.1).fit(both)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    held, kept = order[:22], order[22:]
    flat, moved = samples.x.flatten(1).numpy(), x_adv.flatten(1).numpy()
    inverse = np.linalg.inv(np.cov(flat[kept].T) + 0.1**2 * np.eye(4))

    def near(a: np.ndarray) -> np.ndarray:
        gaps = a[:, None] - flat[kept]
        return np.sqrt(np.einsum("nci,ij,ncj->nc", gaps, inverse, gaps).min(1))

    bound = np.quantile(near(flat[held]), 0.99)
    assert float(detector.bound) == pytest.approx(bound, rel=1e-4)
    expected = near(moved) / bound
    np.testing.assert_allclose(detector(x_adv).numpy(), expected, rtol=1e-3, atol=1e-4)
    whole = near(moved[held])
    share, median, _ = detector.perturbation_bounds()[-1]
    assert share == SHARES[-1] == 1.0
    assert median == pytest.approx(np.sort(whole)[(len(whole) - 1) // 2] / bound, rel=1e-3)
    last = ks_2samp(whole, near(flat[held]), alternative="less").pvalue
    assert float(detector.p_values[-1]) >= last * 0.99


def test_changes_beside_the_components_count_as_noise_would() -> None:
    samples = pixels()
    x_adv = samples.x.flip(0)
    both = DetectorSamples(samples.x, samples.y, x_adv, torch.ones_like(samples.y), ("flip",))
    detector = MLFilter(components=2, noise=0.05).fit(both)
    x = samples.x[:1]
    other = detector.axes.new_ones(4)
    other -= detector.axes @ (detector.axes.T @ other)
    other -= detector.axes @ (detector.axes.T @ other)
    before, after = detector(x), detector(x + other.reshape(1, 1, 2, 2))
    centred = x.flatten(1) - detector.mean
    rest = centred - centred @ detector.axes @ detector.axes.T
    moved = float(((rest + other).square().sum() - rest.square().sum()) / 0.05**2)
    gained = float((after**2 - before**2) * detector.bound**2)
    assert gained == pytest.approx(moved, rel=1e-3)


def test_the_filter_says_which_perturbations_show() -> None:
    detector = fitted("ml_filter")
    assert isinstance(detector, MLFilter)
    bounds = detector.perturbation_bounds()
    assert [share for share, _, _ in bounds] == list(SHARES)
    medians = [median for _, median, _ in bounds]
    assert medians == sorted(medians)
    assert bounds[-1][2]
    with pytest.raises(ModelError, match="MLFilter is not fitted"):
        MLFilter().perturbation_bounds()


def test_holm_corrects_for_the_number_of_tests() -> None:
    given = torch.tensor([0.01, 0.04, 0.03, 0.005])
    assert torch.allclose(_holm(given), torch.tensor([0.03, 0.06, 0.06, 0.02]))


def test_images_that_coincide_and_options_out_of_range_are_refused() -> None:
    part = digits().train.first(100)
    same = part.x[:1].expand(100, 1, 8, 8).clone()
    kinds = torch.ones_like(part.y)
    with pytest.raises(DataError, match="clean images coincide"):
        MLFilter(components=2).fit(DetectorSamples(same, part.y, same, kinds, ("noise",)))
    with pytest.raises(ModelError, match="noise 0: give a standard deviation between 0 and 1"):
        MLFilter(noise=0)
    with pytest.raises(ModelError, match="0 components"):
        MLFilter(components=0)
