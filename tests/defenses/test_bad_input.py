"""Images and descriptions that fit nothing: one line says so, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tempering.core.errors import ModelError, TemperingError
from tempering.core.protocols import DEFENSES, Transform
from tempering.defenses import MedianFilter, Pipeline, Squeeze
from tempering.models import BaseClassifier, build, load, save
from tests.defenses.manifests import manifest_of

SHAPE = (1, 8, 8)
TRANSFORMS = {
    name: kind(0.3, 0.7) if kind is Squeeze else kind()  # type: ignore[call-arg]
    for name, kind in DEFENSES.items()
    if issubclass(kind, Transform)
}
BAD_IMAGES = {
    "bytes": (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "of type torch.uint8"),
    "0 to 255": (torch.linspace(0, 255, 64).reshape(1, 1, 8, 8), "from 0 to 255"),
}


@pytest.mark.parametrize("images", BAD_IMAGES)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_refuses_what_are_no_images(name: str, images: str) -> None:
    x, message = BAD_IMAGES[images]
    with pytest.raises(ModelError, match=message) as caught:
        TRANSFORMS[name](x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["median", "squeeze", "tv"])
def test_noise_that_smoothing_does_not_clip_passes(name: str) -> None:
    x = torch.linspace(-4.0, 5.0, 64).reshape(1, 1, 8, 8)
    assert TRANSFORMS[name](x).isfinite().all()


def network() -> BaseClassifier:
    return build("strided_cnn", SHAPE, 3, width=2, hidden=4, squeeze=None, adversarial_class=False)


def pipeline() -> Pipeline:
    return Pipeline(network(), [MedianFilter(), Squeeze(0.3, 0.7)])


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 8, 8)])
@pytest.mark.parametrize("name", ["pipeline", "routed", "backdoored"])
def test_a_defended_model_refuses_images_of_another_shape(
    name: str, shape: tuple[int, int, int]
) -> None:
    model = pipeline() if name == "pipeline" else build(name, SHAPE, 3)
    with pytest.raises(ModelError, match=rf"images of shape \({shape[0]}, {shape[1]}") as caught:
        model.eval()(torch.rand(2, *shape))
    assert "\n" not in str(caught.value)


def first(options: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = options["transforms"][0]
    return part


PIPELINES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a function": (lambda o: first(o).update(defense="os.system"), "unknown defense 'os.system'"),
    "a list": (lambda o: first(o).update(defense=["median"]), r"defense \['median'\]"),
    "options": (lambda o: first(o).update(options="rm"), "options 'rm'"),
    "a module": (lambda o: first(o).update(module="os"), "with the keys defense, module, options"),
    "a network": (
        lambda o: o["transforms"].append({"model": network().architecture}),
        "Classifier among transforms",
    ),
    "no network": (lambda o: o.update(classifier={"name": "os.system"}), "unknown model"),
    "nameless": (lambda o: o.update(classifier={"options": {}}), "give name and options"),
    "a word": (lambda o: o.update(classifier="strided_cnn"), "classifier 'strided_cnn'"),
    "a number": (lambda o: o.update(transforms=3), "manifest.json: "),
    "a detector": (lambda o: o.update(detector={"defense": "median"}), "MedianFilter as a detect"),
    "a scale": (lambda o: o.update(scale="large"), "manifest.json: "),
    "another network": (
        lambda o: o["classifier"]["options"].update(hidden=5),
        "does not fit the model",
    ),
}
ROUTED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a word as a route": (lambda o: o.update(routes=["0", 1]), "route '0'"),
    "a route too many": (lambda o: o.update(routes=[0, 1, 0]), "3 routes for"),
    "another detector": (
        lambda o: o.update(discriminator={"defense": "median"}),
        "MedianFilter for routes",
    ),
    "a function": (lambda o: o.update(bank=[None, {"defense": "eval"}]), "unknown defense 'eval'"),
    "nameless": (lambda o: o.update(classifier={}), "give name and options"),
}
BACKDOORED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no permutation": (lambda o: o.update(mapping=[0, 0, 1]), "give each of the classes"),
    "nameless": (lambda o: o.update(classifier={"options": {}}), "give name and options"),
}
KINDS = {"pipeline": PIPELINES, "routed": ROUTED, "backdoored": BACKDOORED}


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind, cases in KINDS.items() for case in cases]
)
def test_a_manifest_with_other_parts_is_refused(kind: str, case: str, tmp_path: Path) -> None:
    model = pipeline() if kind == "pipeline" else build(kind, SHAPE, 3)
    save(model, tmp_path, manifest_of(model, SHAPE))
    file = tmp_path / "manifest.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change, message = KINDS[kind][case]
    change(content["architecture"]["options"])
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


class Noting(nn.Module):
    """Keeps more than tensors in its state."""

    classes = 3

    def get_extra_state(self) -> str:
        return "words"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :3]


def test_what_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    model = Pipeline(Noting(), [MedianFilter()])
    with pytest.raises(TemperingError, match="in the model's state dict is a str"):
        save(model, tmp_path / "saved", manifest_of(model, SHAPE))
    assert not (tmp_path / "saved").exists()
