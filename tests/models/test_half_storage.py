"""Weights in float16: half the size, the same values after loading, a hash of what is loaded."""

from pathlib import Path

import pytest
import torch

from tempering.core.errors import ModelError
from tempering.core.hashing import tensor_hash
from tempering.models import Manifest, load, save, strided_cnn
from tempering.models.half_storage import halved, widened, write_halved
from tempering.models.manifest import MANIFEST_FILE, WEIGHTS_FILE
from tempering.models.weights import weights_hash, weights_of


def packed(folder: Path) -> tuple[torch.nn.Module, Manifest]:
    """A tiny network, written in float16."""
    model = strided_cnn((1, 8, 8), width=2, hidden=4, adversarial_class=False)
    manifest = save(model, folder)
    loaded = write_halved(weights_of(model), folder / WEIGHTS_FILE)
    manifest = manifest.model_copy(update={"weights": tensor_hash(loaded)})
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(), encoding="utf-8")
    return model, manifest


def test_what_is_loaded_is_in_float32_and_has_the_hash_of_the_manifest(tmp_path: Path) -> None:
    model, manifest = packed(tmp_path)
    loaded = load(tmp_path).model
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert weights_hash(loaded) == manifest.weights
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-7)


def test_the_file_has_half_the_size(tmp_path: Path) -> None:
    model, _ = packed(tmp_path / "half")
    save(model, tmp_path / "whole")
    half, whole = ((tmp_path / name / WEIGHTS_FILE).stat().st_size for name in ("half", "whole"))
    values = sum(value.numel() for value in model.parameters())
    assert whole - half == pytest.approx(2 * values, abs=200)


def test_a_changed_bit_is_seen(tmp_path: Path) -> None:
    packed(tmp_path)
    file = tmp_path / WEIGHTS_FILE
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match="was altered: its hash is"):
        load(tmp_path)


def test_a_value_too_large_for_float16_is_refused() -> None:
    with pytest.raises(ModelError, match="big has values beyond 65504"):
        halved({"big": torch.tensor([1e6])})


def test_whole_numbers_stay_as_they_are() -> None:
    steps = torch.tensor([7])
    assert widened(halved({"steps": steps}))["steps"].equal(steps)
