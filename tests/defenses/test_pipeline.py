"""Pipelines: what they decide, what they refuse, and that they are saved and attacked whole."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tempering.attacks import PGD
from tempering.attacks.joint import GuardedClassifier
from tempering.core.errors import ModelError, UnknownNameError, UsageError
from tempering.core.goals import EvadeDetector
from tempering.core.hashing import tensor_hash
from tempering.core.protocols import Detector, Transform
from tempering.core.threats import Linf
from tempering.defenses import AdversarialClass, Pipeline, Squeeze, calibrate
from tempering.defenses.build import build_pipeline
from tempering.models import Manifest, load, save, strided_cnn


class Brightness(Detector):
    """The mean pixel."""

    def score(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1)


class Half(nn.Module):
    """Two classes: is the first pixel above 1/2?"""

    def forward(self, x: Tensor) -> Tensor:
        margin = x.flatten(1)[:, :1] - 0.5
        return torch.cat([-margin, margin], 1)


X = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]).reshape(3, 1, 1, 2)


def test_it_abstains_exactly_where_the_detector_flags() -> None:
    pipeline = Pipeline(Half(), detector=Brightness(0.6), classes=2)
    assert (pipeline.outputs, pipeline.adversarial_class) == (3, 2)
    assert pipeline(X).argmax(1).tolist() == [0, 1, 2]
    assert torch.allclose(pipeline(X)[:, 2], torch.tensor([0.4 - 0.5, 0.4 - 0.1, 0.4 + 0.3]))


@pytest.mark.parametrize("unit", [0.001, 1000.0])
def test_attacks_see_scores_in_units_of_their_spread(unit: float) -> None:
    class Scaled(Brightness):
        def score(self, x: Tensor) -> Tensor:
            return unit * super().score(x)

    usual, scaled = Brightness(), Scaled()
    for detector in (usual, scaled):
        calibrate(detector, torch.linspace(0, 0.8, 20).reshape(20, 1, 1, 1), 0.1)
    there, here = (
        Pipeline(Half(), detector=detector, classes=2)(X) for detector in (usual, scaled)
    )
    assert torch.allclose(there, here, atol=1e-4)


def test_transforms_run_in_order_before_the_classifier_but_not_before_the_detector() -> None:
    class Inversion(Transform):
        def transform(self, x: Tensor) -> Tensor:
            return 1 - x

    pipeline = Pipeline(Half(), [Inversion(), Squeeze(0.0, 0.5)], Brightness(0.6), classes=2)
    assert pipeline(X).argmax(1).tolist() == [1, 0, 2]


def test_an_adversarial_class_and_a_detector_share_one_output() -> None:
    class Flagging(Half):
        adversarial_class = 2

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([super().forward(x), 10 * (0.15 - x.flatten(1)[:, :1])], 1)

    assert Pipeline(Flagging())(X).argmax(1).tolist() == [2, 1, 1]
    both = Pipeline(Flagging(), detector=Brightness(0.6))
    assert (both.classes, both.outputs) == (2, 3)
    assert both(X).argmax(1).tolist() == [2, 1, 2]


def test_the_adversarial_class_is_a_detector() -> None:
    net = strided_cnn(width=2, hidden=4).eval()
    x = torch.rand(20, 1, 28, 28)
    detector = AdversarialClass(net)
    flagged = detector(x) > detector.threshold
    assert torch.equal(flagged, net(x).argmax(1) == 10)
    with pytest.raises(ModelError, match="has no adversarial class"):
        AdversarialClass(Half())


def test_an_attack_evades_the_detector_through_the_pipeline() -> None:
    pipeline = Pipeline(Half(), detector=Brightness(0.6), classes=2)
    x, y, threat = X[1:2], torch.tensor([1]), Linf(0.45)
    x_adv = PGD(steps=40)(pipeline, x, y, threat, goal=EvadeDetector(2))
    assert pipeline(x_adv).argmax(1).tolist() == [0]


def test_what_is_not_fitted_or_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="threshold is nan: set it"):
        Pipeline(Half(), detector=Brightness(), classes=2)(X)
    with pytest.raises(ModelError, match="Half does not say how many classes"):
        Pipeline(Half())
    with pytest.raises(ModelError, match="2 outputs for 5 classes"):
        Pipeline(Half(), detector=Brightness(0.6), classes=5)(X)
    with pytest.raises(ModelError, match="ReLU among transforms: derive it from Transform"):
        Pipeline(Half(), [nn.ReLU()], classes=2)  # type: ignore[list-item]
    with pytest.raises(ModelError, match="Half as a detector"):
        Pipeline(Half(), detector=Half(), classes=2)  # type: ignore[arg-type]


def manifest(model: Pipeline) -> Manifest:
    return Manifest(
        architecture=model.architecture,
        classes=[str(digit) for digit in range(10)],
        shape=(1, 28, 28),
        threat="linf:0.3",
        data="mnist",
        data_hash="0" * 16,
        split="official",
        seed=0,
    )


def test_a_pipeline_is_saved_and_loaded_whole(tmp_path: Path) -> None:
    net = strided_cnn(width=2, hidden=4, squeeze=None)
    judge = AdversarialClass(strided_cnn(width=3, hidden=4), threshold=0.25)
    model = Pipeline(net, [Squeeze(0.3, 0.7)], judge, scale=2.0).eval()
    save(model, tmp_path, manifest(model))
    again = load(tmp_path).model
    x = torch.rand(5, 1, 28, 28)
    assert isinstance(again, Pipeline)
    assert torch.equal(again(x), model(x))
    assert again.architecture == model.architecture
    assert str(again) == str(model)


def test_a_pipeline_that_was_saved_without_a_spread_keeps_its_unit(tmp_path: Path) -> None:
    net = strided_cnn(width=2, hidden=4, squeeze=None)
    judge = AdversarialClass(strided_cnn(width=3, hidden=4), threshold=0.25)
    model = Pipeline(net, [], judge, scale=2.0).eval()
    save(model, tmp_path, manifest(model))
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["detector.clean_spread"]
    save_file(tensors, tmp_path / "model.safetensors")
    spoken = json.loads((tmp_path / "manifest.json").read_text())
    spoken["weights"] = tensor_hash(tensors)
    (tmp_path / "manifest.json").write_text(json.dumps(spoken))
    x = torch.rand(5, 1, 28, 28)
    assert torch.equal(load(tmp_path).model(x), model(x))


def test_a_pipeline_of_foreign_parts_says_so_in_its_manifest(tmp_path: Path) -> None:
    model = Pipeline(Half(), [Squeeze(0.3, 0.7)], classes=2)
    assert model.architecture == "Pipeline"
    save(model, tmp_path, manifest(model))
    with pytest.raises(ModelError, match="was built by your own code, Pipeline"):
        load(tmp_path)


def test_descriptions_that_fit_nothing_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown defense 'sqeeze': did you mean squeeze"):
        build_pipeline(transforms=[{"defense": "sqeeze"}])
    with pytest.raises(UsageError, match="do not fit the defense 'squeeze'"):
        build_pipeline(transforms=[{"defense": "squeeze", "options": {"width": 3}}])
    with pytest.raises(UsageError, match="with the keys name: give defense and options"):
        build_pipeline(transforms=[{"name": "squeeze"}])
    with pytest.raises(UsageError, match="part of a pipeline 'median': give a table such as"):
        build_pipeline(transforms=["median"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="transforms 'median': give a list"):
        build_pipeline(transforms="median")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Squeeze as a detector: give a detector"):
        build_pipeline(detector={"defense": "squeeze", "options": {"low": 0.3, "high": 0.7}})


def test_a_part_that_writes_its_images_changes_none_for_the_detector() -> None:
    class Blackens(Half):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x.clone())
            x.zero_()
            return logits

    class Darkens(Transform):
        def transform(self, x: Tensor) -> Tensor:
            return x.mul_(0.9)

    for transforms in ((), (Darkens(),)):
        pipeline = Pipeline(Blackens(), transforms, Brightness(0.6), classes=2)
        assert pipeline(X.clone()).argmax(1).tolist() == [0, 1, 2]
    guarded = GuardedClassifier(Blackens(), Brightness(0.6), threshold=0.6, scale=1.0)
    assert guarded(X.clone()).argmax(1).tolist() == [0, 1, 2]
