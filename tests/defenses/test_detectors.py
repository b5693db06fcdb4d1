"""What all fitted detectors keep to: scores, gradients, files, attacks, refusals."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import tempering as tp
from tempering.attacks import PGD, JointDetection, Square
from tempering.core.backward import adaptive_stages
from tempering.core.errors import ModelError
from tempering.core.goals import EvadeDetector
from tempering.core.protocols import DEFENSES, Detector
from tempering.defenses import FittedDetector, Pipeline, fit_detector, scores_of
from tempering.defenses.description import restore
from tempering.models import Manifest, load, save
from tests.defenses.detectors import (
    ATTACKS,
    CASES,
    THREAT,
    digits,
    fitted,
    known,
    network,
    pipeline,
)

each_case = pytest.mark.parametrize("case", CASES)
each_fitted = pytest.mark.parametrize("case", [case for case in CASES if "squeezing" not in case])


def saved(model: Pipeline, folder: Path) -> None:
    manifest = Manifest(
        architecture=model.architecture,
        classes=[str(digit) for digit in range(10)],
        shape=(1, 8, 8),
        threat="linf:0.2",
        data="digits",
        data_hash="0" * 16,
        split="official",
        seed=0,
    )
    save(model, folder, manifest)


def altered(folder: Path, **changes: object) -> None:
    """Change options of the detector in a manifest."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["architecture"]["options"]["detector"]["options"].update(changes)
    file.write_text(json.dumps(manifest))


@each_case
def test_scores_are_one_an_image_and_do_not_depend_on_the_batch(case: str) -> None:
    detector, x = fitted(case), digits().test.x
    together = scores_of(detector, x)
    assert together.shape == (len(x),)
    assert torch.allclose(together, torch.cat([scores_of(detector, row) for row in x.split(1)]))


@each_case
def test_at_most_the_allowed_share_of_validation_images_is_flagged(case: str) -> None:
    detector, x = fitted(case), digits().validation.x
    flagged = int((scores_of(detector, x) > detector.threshold).sum())
    assert flagged <= 5


@each_case
def test_the_score_has_the_gradient_that_it_declares(case: str) -> None:
    detector = fitted(case)
    x = digits().test.x[:20].clone().requires_grad_()
    (slope,) = torch.autograd.grad(detector(x).sum(), x)
    assert bool(slope.isfinite().all())
    assert float((slope.flatten(1).norm(dim=1) > 0).double().mean()) > 0.5
    declared = DEFENSES[CASES[case][0]].input_gradient
    assert bool(adaptive_stages(detector)) == (declared != "true")


@each_case
def test_it_is_saved_and_loaded_with_its_pipeline(case: str, tmp_path: Path) -> None:
    model, x = pipeline(case), digits().test.x
    saved(model, tmp_path)
    again = load(tmp_path).model
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "manifest.json",
        "model.safetensors",
    ]
    assert isinstance(again, Pipeline)
    assert again.detector is not None
    assert torch.equal(scores_of(again.detector, x), scores_of(fitted(case), x))
    assert torch.equal(again(x), model(x))
    assert again.architecture == model.architecture
    leaf, other = (x[:4].clone().requires_grad_() for _ in range(2))
    slopes = [
        torch.autograd.grad(net(images)[:, -1].sum(), images)[0]
        for net, images in ((model, leaf), (again, other))
    ]
    assert torch.equal(*slopes)


@each_case
def test_a_pipeline_with_it_is_evaluated(case: str) -> None:
    x, y = known()
    attacks = [PGD(steps=3), Square(queries=10)]
    result = tp.evaluate(pipeline(case), (x[:2], y[:2]), THREAT, attacks=attacks)
    assert result.robust_with_detection is not None
    assert result.robust_accuracy.upper <= result.robust_with_detection


@pytest.mark.parametrize("case", ["mahalanobis", "random_forest"])
def test_it_is_evaluated_without_knowledge_of_it(case: str) -> None:
    x, y = known()
    result = tp.evaluate(pipeline(case), (x[:3], y[:3]), THREAT, access="black", quick=True)
    assert result.robust_with_detection is not None


def standing(model: Pipeline, x_adv: Tensor, y: Tensor) -> int:
    """Samples that are flagged or right."""
    answer = model(x_adv).argmax(1)
    return int(((answer == y) | (answer == 10)).sum())


@pytest.mark.parametrize("case", ["knn_distance", "discriminator", "random_forest", "knn"])
def test_an_attacker_who_knows_the_detector_leaves_fewer_samples(case: str) -> None:
    (x, y), model, attack = known(), pipeline(case), PGD(steps=20)
    ignores = standing(model, attack(network(), x, y, THREAT), y)
    knows = standing(model, attack(model, x, y, THREAT, goal=EvadeDetector(10)), y)
    assert ignores > 5
    assert knows < ignores


def test_a_detector_beside_the_classifier_is_evaded_too() -> None:
    (x, y), detector, attack = known(), fitted("knn_distance"), PGD(steps=20)
    joint = JointDetection(attack, detector, float(detector.threshold), scale=10.0)
    model = pipeline("knn_distance")
    ignores = standing(model, attack(network(), x, y, THREAT), y)
    assert standing(model, joint(network(), x, y, THREAT), y) < ignores


@each_fitted
def test_it_is_not_asked_before_it_is_fitted(case: str) -> None:
    name, options = CASES[case]
    needs_network = "network" in fitted(case).options
    blank = DEFENSES[name](**({"network": network()} if needs_network else {}), **options)
    assert isinstance(blank, Detector)
    with pytest.raises(ModelError, match=r"is not fitted: call fit\(samples\), or use fit_detec"):
        blank(digits().test.x)


@each_fitted
def test_sizes_that_are_none_are_refused(case: str) -> None:
    detector = fitted(case)
    assert isinstance(detector, FittedDetector)
    for sizes in (
        [3] * (len(detector.sizes) + 1),
        ["many"] * len(detector.sizes),
        [-1] * len(detector.sizes),
    ):
        with pytest.raises(ModelError, match=f"give {detector.size_names[0]}, "):
            restore_with(detector, sizes)


def restore_with(detector: FittedDetector, sizes: object) -> None:
    options = {**detector.options, "sizes": sizes}
    type(detector)(**options)


def test_a_manifest_that_does_not_fit_the_weights_is_refused(tmp_path: Path) -> None:
    model = pipeline("mahalanobis")
    saved(model, tmp_path)
    altered(tmp_path, sizes=[4, 32])
    with pytest.raises(ModelError, match=r"detector.centres has shape \(10, 32\) in the file"):
        load(tmp_path)
    altered(tmp_path, sizes=[10, 16])
    with pytest.raises(ModelError, match="fitted to 16 features and its network has 32"):
        load(tmp_path)
    altered(tmp_path, sizes=[10, 32], ridge=-1)
    with pytest.raises(ModelError, match="ridge -1"):
        load(tmp_path)


def test_a_detector_for_other_images_is_refused() -> None:
    other = tp.models.strided_cnn(width=2, hidden=4, squeeze=None)
    with pytest.raises(ModelError, match=r"takes images of shape \(1, 8, 8\) and the class"):
        Pipeline(other, detector=fitted("mahalanobis"))


def test_pixels_that_the_filter_does_not_know_are_refused() -> None:
    with pytest.raises(ModelError, match="fitted to images of 64 pixels and is given 100"):
        fitted("ml_filter")(torch.zeros(2, 1, 10, 10))


@pytest.mark.parametrize("name", ["mahalanobis", "knn_distance", "protection_layer"])
def test_a_description_without_a_network_is_refused(name: str, tmp_path: Path) -> None:
    model = pipeline("random_forest" if name == "protection_layer" else name)
    saved(model, tmp_path)
    altered(tmp_path, network=None)
    with pytest.raises(ModelError, match="network None: give a network from images to logits"):
        load(tmp_path)


def test_a_layer_has_features_of_its_own(tmp_path: Path) -> None:
    own = fitted("discriminator").network
    options = {"network": own, "members": 5, "samples": 60}
    detector = fit_detector("protection_layer", network(), digits(), THREAT, ATTACKS, **options)
    model = Pipeline(network(), detector=detector).eval()
    saved(model, tmp_path)
    again = load(tmp_path).model
    x = digits().test.x
    assert torch.equal(again(x), model(x))
    assert detector.network is own


def test_all_are_registered() -> None:
    names = {name for name, _ in CASES.values()}
    assert names <= set(DEFENSES)
    assert all(DEFENSES[name].source for name in names)
    assert all(DEFENSES[name].kind == "detector" for name in names)


def test_a_description_restores_options() -> None:
    detector = restore({"defense": "ml_filter", "options": {"components": 3, "sizes": [5, 64, 3]}})
    assert isinstance(detector, FittedDetector)
    assert detector.sizes == (5, 64, 3)
