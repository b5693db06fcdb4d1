"""The libraries themselves, where they are installed; nothing is fetched from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tempering.models.foreign import load_foreign, make_foreign


def test_classifiers_of_transformers_answer_as_behind_their_processor(tmp_path: Path) -> None:
    library: Any = pytest.importorskip("transformers")
    config = library.ResNetConfig(
        embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=3
    )
    network = library.ResNetForImageClassification(config).eval()
    network.save_pretrained(tmp_path)
    size = {"height": 16, "width": 16}
    processor = library.ViTImageProcessor(size=size, image_mean=[0.4] * 3, image_std=[0.3] * 3)
    processor.save_pretrained(tmp_path)
    x = torch.randint(256, (1, 3, 16, 16)) / 255
    pixels = (x[0] * 255).round().byte().permute(1, 2, 0).numpy()
    told = network(**processor(images=[pixels], return_tensors="pt")).logits
    model: Any = load_foreign(f"hf:{tmp_path}")
    assert torch.allclose(model(x), told, atol=1e-4)
    assert make_foreign(f"hf:{tmp_path}")(x).shape == (1, 3)


def test_networks_of_timm_are_normalised(tmp_path: Path) -> None:
    library: Any = pytest.importorskip("timm")
    network = library.create_model("resnet10t", num_classes=5).eval()
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    model: Any = load_foreign("timm:resnet10t", tmp_path / "mine.pth")
    config = library.data.resolve_data_config({}, model=network)
    x = torch.rand(1, *config["input_size"])
    mean, std = (torch.tensor(config[key]).view(-1, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(model(x), network((x - mean) / std), atol=1e-4)
