"""Small stand-ins of timm and transformers, with the functions and signatures that are called."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

MEAN, STD, SIDE = (0.2, 0.3, 0.4), (0.5, 0.6, 0.7), 16


class TinyNet(nn.Module):
    """A linear classifier in timm's manner."""

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.num_classes = classes
        self.pretrained_cfg = {"mean": MEAN, "std": STD, "input_size": (channels, SIDE, SIDE)}
        self.pretrained_cfg |= {"classifier": "fc", "interpolation": "bicubic"}
        self.pool = nn.AvgPool2d(4)
        self.fc = nn.Linear(channels * 16, classes)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2:] == (SIDE, SIDE)
        return self.fc(self.pool(x).flatten(1))


def install_timm(monkeypatch: pytest.MonkeyPatch, *, reachable: bool = True) -> list[bool]:
    """Put a timm with the networks `tiny` and `grey` in place; returns what was pretrained."""
    asked: list[bool] = []

    def create_model(model_name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        asked.append(pretrained)
        if pretrained and not reachable:
            raise FileNotFoundError("An error happened while reaching the Hub.\nCheck it.")
        channels = 1 if model_name == "grey" else 3
        network = TinyNet(channels, kwargs.get("num_classes", 10))
        if channels == 1:
            network.pretrained_cfg |= {"mean": (0.5,), "std": (0.5,)}
        if pretrained:
            nn.init.constant_(network.fc.bias, 7.0)
        return network

    def resolve_data_config(
        args: Any = None, pretrained_cfg: Any = None, model: Any = None
    ) -> dict[str, Any]:
        return {**model.pretrained_cfg, "crop_pct": 0.875}

    timm, data = ModuleType("timm"), ModuleType("timm.data")
    timm.create_model = create_model  # type: ignore[attr-defined]
    timm.is_model = lambda name: name in ("tiny", "grey")  # type: ignore[attr-defined]
    timm.list_models = lambda: ["tiny", "grey"]  # type: ignore[attr-defined]
    timm.data = data  # type: ignore[attr-defined]
    data.resolve_data_config = resolve_data_config  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "timm.data", data)
    return asked


class Processor:
    """An image processor that reads preprocessor_config.json."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.do_center_crop, self.crop_size = False, None
        self.__dict__.update(values)
        self.twist = values.get("twist", 0.0)

    def __call__(
        self, images: list[Any], do_resize: bool, do_center_crop: bool, return_tensors: str
    ) -> dict[str, Tensor]:
        assert not do_resize
        assert not do_center_crop
        assert return_tensors == "pt"
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).double()
        if self.do_rescale:
            x = x * self.rescale_factor
        if self.do_normalize:
            mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (self.image_mean, self.image_std))
            x = (x - mean) / std
        return {"pixel_values": (x + self.twist).float()}


class Classifier(nn.Module):
    """An image classifier in transformers' manner, whose answer has `logits`."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config = config
        self.classifier = nn.Linear(3 * config.image_size**2, len(config.id2label))

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.classifier(pixel_values.flatten(1)), hidden=None)


def install_transformers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put a transformers in place; returns what weights were asked for with."""
    calls: list[dict[str, Any]] = []

    def read(where: str, name: str) -> dict[str, Any]:
        if not Path(where).is_dir():
            raise OSError(f"We couldn't connect to 'https://huggingface.co' for {where}\nCheck it.")
        told: dict[str, Any] = json.loads((Path(where) / name).read_text())
        return told

    def config_of(where: str, *, trust_remote_code: bool) -> SimpleNamespace:
        assert trust_remote_code is False
        told = read(where, "config.json")
        named = {int(number): name for number, name in told.pop("id2label").items()}
        return SimpleNamespace(**told, id2label=named)

    def processor_of(where: str, *, trust_remote_code: bool) -> Processor:
        assert trust_remote_code is False
        return Processor(read(where, "preprocessor_config.json"))

    def pretrained(where: str, **options: Any) -> tuple[nn.Module, dict[str, Any]]:
        calls.append(options)
        network = Classifier(config_of(where, trust_remote_code=options["trust_remote_code"]))
        told = network.load_state_dict(load_file(f"{where}/model.safetensors"), strict=False)
        return network, {"missing_keys": set(told.missing_keys)}

    def from_config(config: SimpleNamespace, *, trust_remote_code: bool) -> nn.Module:
        return Classifier(config)

    library = ModuleType("transformers")
    library.AutoConfig = SimpleNamespace(from_pretrained=config_of)  # type: ignore[attr-defined]
    library.AutoImageProcessor = SimpleNamespace(  # type: ignore[attr-defined]
        from_pretrained=processor_of
    )
    library.AutoModelForImageClassification = SimpleNamespace(  # type: ignore[attr-defined]
        from_pretrained=pretrained, from_config=from_config
    )
    monkeypatch.setitem(sys.modules, "transformers", library)
    return calls


def write_folder(
    folder: Path, classes: int = 10, names: list[str] | None = None, **processor: Any
) -> Path:
    """A folder in the hub's format, with a classifier of images of 8 x 8."""
    folder.mkdir()
    named = names or [f"LABEL_{number}" for number in range(classes)]
    config = {"image_size": 8, "id2label": dict(enumerate(named))}
    (folder / "config.json").write_text(json.dumps(config))
    told = {"do_resize": True, "size": {"height": 8, "width": 8}}
    told |= {"do_rescale": True, "rescale_factor": 1 / 255}
    told |= {"do_normalize": True, "image_mean": MEAN, "image_std": STD, **processor}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    layer = nn.Linear(192, len(named))
    tensors = {f"classifier.{name}": value for name, value in layer.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    return folder
