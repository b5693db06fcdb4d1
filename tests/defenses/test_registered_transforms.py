"""All registered transforms: evaluated, certified, saved and loaded, listed."""

from pathlib import Path

import pytest
import torch

import tempering as tp
from tempering.attacks import PGD
from tempering.certification import certify
from tempering.core.protocols import DEFENSES, Transform
from tempering.core.threats import Linf
from tempering.defenses import Pipeline
from tempering.defenses.build import build_pipeline
from tempering.models import Manifest, load, save

SHAPE = (1, 8, 8)
OPTIONS: dict[str, dict[str, float]] = {
    "squeeze": {"low": 0.3, "high": 0.7},
    "nlm": {"search": 3},
    "thermometer": {"levels": 4},
    "tv": {"iterations": 3},
}
"""Options that differ from the defaults."""
BOUNDED = ("squeeze", "gaussian_blur", "counter_perturbation", "nlm", "threshold", "bit_depth")
NAMES = sorted(name for name, kind in DEFENSES.items() if kind.kind == "transform")
each = pytest.mark.parametrize("name", NAMES)


def pipeline(name: str, **options: float) -> Pipeline:
    described = {"defense": name, "options": {**OPTIONS.get(name, {}), **options}}
    classifier = {"name": "strided_cnn", "options": {"width": 2, "hidden": 4, "squeeze": None}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_pipeline(
            SHAPE, 10, classifier, transforms=[described], adversarial_class=False
        ).eval()


def test_the_published_transforms_are_registered() -> None:
    assert {
        "bit_depth", "counter_perturbation", "gaussian_blur", "gaussian_noise", "jpeg", "median",
        "nlm", "resize_pad", "squeeze", "thermometer", "threshold", "tv",
    } == set(NAMES)  # fmt: skip


@each
def test_it_is_evaluated_and_runs_repeat(name: str) -> None:
    data = tp.data.load("digits")
    attacks = [PGD(steps=2)]

    def robust() -> float:
        found = tp.evaluate(
            pipeline(name), data, Linf(0.1), attacks=attacks, samples=3, subset="first"
        )
        return found.robust_accuracy.upper

    bound = robust()
    assert 0 <= bound <= 1
    if pipeline(name).transforms[0].random:
        assert robust() == bound


@each
def test_it_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    model = pipeline(name)
    manifest = Manifest(
        architecture=model.architecture,
        classes=[str(digit) for digit in range(10)],
        shape=SHAPE,
        threat="linf:0.3",
        data="digits",
        data_hash="0" * 16,
        split="official",
        seed=0,
    )
    save(model, tmp_path, manifest)
    again = load(tmp_path).model
    x = torch.rand(5, *SHAPE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = model(x)
        torch.manual_seed(0)
        assert torch.equal(again(x), before)
    assert str(again) == str(model)


@each
def test_certificates_bound_it_or_abstain_by_name(name: str) -> None:
    x = torch.rand(4, *SHAPE)
    model = pipeline(name)
    reason = certify(model, x, torch.zeros(4, dtype=torch.int64), Linf(0.01)).unsupported
    if name in (
        "squeeze",
        "gaussian_blur",
        "counter_perturbation",
        "nlm",
        "threshold",
        "bit_depth",
    ):
        assert reason is None
    else:
        assert reason is not None
        assert "no bounds for transforms.0" in reason
        assert len(reason.splitlines()) == 1


@each
def test_images_keep_their_type_and_are_not_written(name: str) -> None:
    stage = pipeline(name).transforms[0]
    assert isinstance(stage, Transform)
    x = torch.rand(3, *SHAPE, dtype=torch.float64)
    before = x.clone()
    out = stage(x)
    assert torch.equal(x, before)
    assert out.dtype == x.dtype
    assert out.shape == (3, *stage.shape_after(SHAPE))
    assert stage.shape_before(stage.shape_after(SHAPE)) == SHAPE
    assert bool(((out >= 0) & (out <= 1 + 1e-6)).all())
    assert stage(x.float()[:0]).shape == (0, *stage.shape_after(SHAPE))
    assert stage.source or name == "squeeze"
