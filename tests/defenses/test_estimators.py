"""Estimators as arrays give what scikit-learn gives."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from tempering.attacks import FGSM
from tempering.core.errors import DataError, ModelError, UnknownNameError
from tempering.defenses import ProtectionLayer
from tempering.defenses.distillation import distil, surrogate_network
from tempering.defenses.estimators import ESTIMATORS
from tempering.defenses.trees import _rounded_down
from tests.defenses.detectors import THREAT, digits, fitted, network


def samples(n: int = 200) -> tuple[Tensor, Tensor]:
    """Clean and adversarial features that overlap; multiples of 1/8, so that thresholds matter."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    points = torch.randn(n, 6, generator=draw) + labels[:, None] * 0.7
    return (points * 8).round() / 8, labels


THEIRS = {
    "random_forest": RandomForestClassifier(12, min_samples_leaf=2, random_state=3),
    "gradient_boosting": GradientBoostingClassifier(
        n_estimators=12, max_features="sqrt", random_state=3
    ),
    "knn": KNeighborsClassifier(12),
}


@pytest.mark.parametrize("name", THEIRS)
def test_probabilities_are_those_of_scikit_learn(name: str) -> None:
    points, labels = samples()
    fresh = torch.randn(300, 6, generator=torch.Generator().manual_seed(1))
    theirs = THEIRS[name].fit(points.numpy(), labels.numpy())
    ours = ESTIMATORS[name].fitted(points, labels, 12, 3)
    for x in (points, fresh) if name != "knn" else (fresh,):
        expected = theirs.predict_proba(x.numpy())[:, 1]
        np.testing.assert_allclose(ours(x).numpy(), expected, atol=1e-6)
    blank = ESTIMATORS[name].blank(ours.sizes)
    assert not torch.equal(blank(fresh), ours(fresh))
    blank.load_state_dict(ours.state_dict())
    assert torch.equal(blank(fresh), ours(fresh))


def test_thresholds_separate_float32_as_they_separate_float64() -> None:
    near = np.float32(0.1)
    limits = np.array([float(near), float(near) - 1e-12, float(near) + 1e-12])
    ours = _rounded_down(limits)
    assert (near <= ours).tolist() == (float(near) <= limits).tolist() == [True, False, True]


@pytest.mark.parametrize("name", THEIRS)
def test_one_kind_of_samples_is_not_enough(name: str) -> None:
    points, labels = samples()
    with pytest.raises(DataError, match="200 clean and 0 adversarial samples for the estimator"):
        ESTIMATORS[name].fitted(points, 0 * labels, 5, 0)


def test_a_network_learns_to_imitate_scores_without_a_gradient() -> None:
    points, _ = samples(600)

    def steps(x: Tensor) -> Tensor:
        return (x[:, 0] > 0.5).float() * 0.5 + (x[:, 1] > 0).float() * 0.4

    imitation = surrogate_network(6)
    before = imitation[0].weight.clone()
    distil(imitation, steps, points, seed=0)
    assert not torch.equal(imitation[0].weight, before)
    fresh = torch.randn(300, 6, generator=torch.Generator().manual_seed(1))
    both = torch.stack([torch.sigmoid(imitation(fresh)[:, 0]).detach(), steps(fresh)])
    assert float(both.corrcoef()[0, 1]) > 0.85


@pytest.mark.parametrize("case", ["random_forest", "knn", "gradient_boosting"])
def test_the_layer_approximates_its_own_scores(case: str) -> None:
    layer, part = fitted(case), digits().train.first(200)
    x = torch.cat([part.x, FGSM()(network(), part.x, part.y, THREAT)])
    assert isinstance(layer, ProtectionLayer)
    with torch.no_grad():
        both = torch.stack([torch.sigmoid(layer.approximation(x)), layer.score(x)])
    assert float(both.corrcoef()[0, 1]) > 0.7


def test_estimators_and_members_that_are_none_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown estimator 'forest'"):
        ProtectionLayer(network(), "forest")
    with pytest.raises(ModelError, match="members 0: give at least 1"):
        ProtectionLayer(network(), members=0)
