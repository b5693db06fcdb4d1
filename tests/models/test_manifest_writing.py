"""Models that were built in Python are saved without a manifest, or with one that fits."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tempering.core.errors import ModelError
from tempering.defenses import Jpeg, Pipeline, Thermometer
from tempering.defenses.mahalanobis import Mahalanobis
from tempering.models import load, manifest_of, save, strided_cnn

X = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SHAPE = (1, 8, 8)


def network(**options: object) -> nn.Module:
    return strided_cnn(SHAPE, 3, width=2, hidden=4, squeeze=None, **options)  # type: ignore[arg-type]


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "my.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))\n",
        encoding="utf-8",
    )
    return f"{tmp_path / 'my.py'}:build"


def test_a_network_and_a_pipeline_need_no_manifest(tmp_path: Path) -> None:
    net = network(adversarial_class=False)
    assert isinstance(net, nn.Module)
    for model in (net, Pipeline(net, [Jpeg(quality=50)])):
        save(model, str(tmp_path / "run"))
        loaded = load(tmp_path / "run")
        assert torch.equal(loaded.model(X), model.eval()(X))
        assert (loaded.manifest.shape, loaded.manifest.classes) == (SHAPE, ["0", "1", "2"])


def test_a_network_of_ones_own_is_named_by_its_factory(tmp_path: Path, own: str) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    save(net, tmp_path / "run", manifest_of(net, factory=own, shape=SHAPE))
    loaded = load(tmp_path / "run", factory=own)
    assert torch.equal(loaded.model(X), net(X))
    assert loaded.manifest.classes == ["0", "1", "2"]


def test_a_pipeline_around_ones_own_network_comes_back(tmp_path: Path, own: str) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64 * 4, 3))
    model = Pipeline(net, [Thermometer(levels=4)], classes=3)
    save(model, tmp_path / "run", manifest_of(model, factory=own, shape=(4, 8, 8)))
    loaded = load(tmp_path / "run", factory=own)
    assert torch.equal(loaded.model(X), model.eval()(X))
    assert loaded.manifest.shape == SHAPE


def test_what_is_missing_is_asked_for(tmp_path: Path, own: str) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    for model in (net, Pipeline(net, classes=3)):
        with pytest.raises(ModelError, match=r'manifest_of\(model, factory="my.py:build"'):
            save(model, tmp_path / "run")
    with pytest.raises(ModelError, match=r"^shape \(1, 8\): give channels, height and width"):
        manifest_of(net, factory=own, shape=(1, 8))
    with pytest.raises(ModelError, match=r"^the model fails on images of shape \(1, 9, 8\)"):
        manifest_of(net, factory=own, shape=(1, 9, 8))
    with pytest.raises(ModelError, match=r"no file nowhere\.py"):
        manifest_of(net, factory="nowhere.py:build", shape=SHAPE)
    with pytest.raises(ModelError, match="leave it out"):
        manifest_of(Pipeline(network()), factory=own, shape=SHAPE)
    assert not (tmp_path / "run").exists()


def test_the_manifest_of_another_model_is_refused(tmp_path: Path) -> None:
    net = network()
    other = manifest_of(Pipeline(net, [Jpeg(quality=50)]))
    with pytest.raises(ModelError, match=r"quality = 50 instead of 75: leave the manifest out"):
        save(Pipeline(net, [Jpeg(quality=75)]), tmp_path / "run", other)
    with pytest.raises(ModelError, match="with name = 'pipeline' instead of 'strided_cnn'"):
        save(net, tmp_path / "run", other)
    with pytest.raises(ModelError, match="a Linear says of itself no architecture"):
        save(nn.Linear(2, 2), tmp_path / "run", other)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("path", "manifest", "match"),
    [(3, None, "^path 3: give the name"), ("run", {}, r"^manifest \{\}: give a Manifest")],
)
def test_wrong_arguments_are_named(path: object, manifest: object, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        save(network(), path, manifest)  # type: ignore[arg-type]


def test_a_detector_of_another_network_is_seen(tmp_path: Path) -> None:
    net = network(adversarial_class=False)
    manifest = manifest_of(net)
    with pytest.raises(ModelError, match="the manifest describes another model"):
        save(Pipeline(net, detector=Mahalanobis(net)), tmp_path / "run", manifest)
