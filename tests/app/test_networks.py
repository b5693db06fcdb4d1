"""Networks of one architecture, with weights that depend on a seed, wherever they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tempering.app.networks import (
    FromFile,
    FromModule,
    Networks,
    Registered,
    networks_for,
)
from tempering.app.recipe import ModelSettings
from tempering.core.backward import adaptive_stages
from tempering.core.errors import UsageError
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.data.tones import nearly_binary
from tempering.models import weights_hash

SETTINGS = ModelSettings(
    name="strided_cnn",
    options={"width": 2, "hidden": 4, "squeeze": [0.3, 0.7]},
    undefended={"squeeze": []},
    tonal={"squeeze": [0.1, 0.9]},
)
FACTORY = """
from torch import nn
def build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
"""


def splits(strokes: bool) -> Splits:
    x = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Splits.of(Dataset.of((x > 0.7).float() if strokes else x, torch.arange(100) % 2))


@pytest.fixture(params=["name", "file", "module"])
def networks(request: pytest.FixtureRequest, tmp_path: Path) -> Networks:
    if request.param == "name":
        return Registered(SETTINGS, (1, 8, 8), 2)
    if request.param == "file":
        (tmp_path / "my.py").write_text(FACTORY, encoding="utf-8")
        return FromFile(f"{tmp_path / 'my.py'}:build")
    return FromModule(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))


def test_fresh_weights_depend_on_the_seed_alone(networks: Networks) -> None:
    state = torch.get_rng_state()
    first, again, other = (weights_hash(networks.fresh(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert networks.fresh(1) is not networks.fresh(1)
    assert torch.equal(state, torch.get_rng_state())
    assert not networks.trained


def test_the_squeeze_is_left_out_of_the_undefended_network() -> None:
    networks = Registered(SETTINGS, (1, 8, 8), 2)
    assert adaptive_stages(networks.fresh(0)) == ["squeeze"]
    assert adaptive_stages(networks.undefended(0)) == []


def test_given_weights_are_those_of_the_undefended_network(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(FACTORY, encoding="utf-8")
    trained = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    torch.save(trained.state_dict(), tmp_path / "my.pth")
    networks = FromFile(f"{tmp_path / 'my.py'}:build", tmp_path / "my.pth")
    assert networks.trained
    assert weights_hash(networks.undefended(3)) == weights_hash(trained)
    assert weights_hash(networks.fresh(3)) != weights_hash(trained)


def test_a_module_at_hand_is_copied() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    networks = FromModule(module)
    copy = networks.undefended(0)
    assert weights_hash(copy) == weights_hash(module)
    with torch.no_grad():
        next(copy.parameters()).zero_()
    assert weights_hash(copy) != weights_hash(module) != weights_hash(networks.fresh(0))


@pytest.mark.parametrize("strokes", [True, False])
def test_a_squeeze_suits_strokes_and_not_tones(strokes: bool) -> None:
    data = splits(strokes)
    assert nearly_binary(data) == strokes
    networks = networks_for(SETTINGS, data, None, None)
    assert isinstance(networks, Registered)
    assert networks.settings.options["squeeze"] == ([0.3, 0.7] if strokes else [0.1, 0.9])
    assert networks.settings.options["width"] == 2


def test_where_a_network_comes_from_is_found_out(tmp_path: Path) -> None:
    data, weights = splits(True), tmp_path / "my.pth"
    file = ModelSettings(name="my.py:build")
    assert networks_for(file, data, None, weights) == FromFile("my.py:build", weights)
    assert isinstance(networks_for(SETTINGS, data, nn.Flatten(), None), FromModule)
    with pytest.raises(UsageError, match=r"my\.pth for the model 'strided_cnn': give --model"):
        networks_for(SETTINGS, data, None, weights)
    with pytest.raises(UsageError, match="beside a model that has its own"):
        networks_for(SETTINGS, data, nn.Flatten(), weights)
