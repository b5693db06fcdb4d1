"""Image classifiers of transformers, with the preprocessing of their image processor."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.models.hub.address import HubAddress
from tempering.models.hub.preprocessed import Preprocessed, Preprocessing, pictures

_LEVELS = 255
"""Pixels that an image processor takes are whole numbers up to this."""
_TOLERANCE = 1e-3
"""Largest difference of our preprocessing from the processor's; interpolation has no part in it."""


class ImageClassifier(Preprocessed):
    """A network of transformers, whose answer holds the logits beside other things."""

    def forward(self, x: Tensor) -> object:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w)."""
        return self.network(self.prepared(x)).logits


def transformers_network(address: HubAddress, *, pretrained: bool) -> Preprocessed:
    """Build an image classifier of transformers. Only safetensors are read, and no code is run.

    Args:
        address: `hf:ORG/NAME` of the hub, or `hf:DIR` of a local folder.
        pretrained: Whether its weights are loaded, from the folder, the cache or the hub.

    Raises:
        ModelError: If it has no weights for one of its layers, such as the classifier, or its
            processor does what is not known here.
    """
    library: Any = importlib.import_module("transformers")
    where = str(address.folder or address.name)
    processor = library.AutoImageProcessor.from_pretrained(where, trust_remote_code=False)
    network = (_pretrained if pretrained else _fresh)(library, where, str(address))
    model = ImageClassifier(network, stages_of(processor), str(address), _names(network.config))
    _require_same(model, processor)
    return model


def stages_of(processor: Any) -> Preprocessing:
    """What an image processor does to pixels from 0 to 255, for images in [0, 1].

    Args:
        processor: Of transformers.
    """
    scale = float(_LEVELS * (processor.rescale_factor if processor.do_rescale else 1))
    if processor.do_normalize:
        mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    else:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Preprocessing(
        tuple(value / scale for value in mean),
        tuple(value / scale for value in std),
        _size(processor),
        bool(getattr(processor, "do_flip_channel_order", False)),
    )


def _pretrained(library: Any, where: str, address: str) -> nn.Module:
    network, told = library.AutoModelForImageClassification.from_pretrained(
        where, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    if missing := sorted(told.get("missing_keys", ())):
        raise ModelError(
            f"{address} has no weights for {missing[0]}, which would be random: "
            "give a model that was trained for image classification"
        )
    whole: nn.Module = network.float()
    return whole


def _fresh(library: Any, where: str, address: str) -> nn.Module:  # noqa: ARG001
    config = library.AutoConfig.from_pretrained(where, trust_remote_code=False)
    network: nn.Module = library.AutoModelForImageClassification.from_config(
        config, trust_remote_code=False
    )
    return network.float()


def _names(config: Any) -> list[str]:
    """Names of the classes; none where they are those that transformers makes up."""
    names = [str(name) for _, name in sorted((getattr(config, "id2label", None) or {}).items())]
    made_up = [f"LABEL_{number}" for number in range(len(names))]
    return [] if names == made_up else names


def _size(processor: Any) -> tuple[int, int] | None:
    """Height and width of what the network is given: of the crop, where there is one."""
    crop = getattr(processor, "crop_size", None)
    if getattr(processor, "do_center_crop", False) and crop:
        return _sides(crop)
    return _sides(processor.size) if processor.do_resize and processor.size else None


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    height, width, short = (size.get(key) for key in ("height", "width", "shortest_edge"))
    if height and width:
        return int(height), int(width)
    return (int(short), int(short)) if short else None


def _require_same(model: Preprocessed, processor: Any) -> None:
    """Compare our preprocessing with the processor's on a picture that needs no resizing."""
    x = pictures(model.stages)
    pixels = (x[0] * _LEVELS).round().byte().permute(1, 2, 0).numpy()
    told = processor(images=[pixels], do_resize=False, do_center_crop=False, return_tensors="pt")[
        "pixel_values"
    ]
    own = model.prepared(x)
    if told.shape != own.shape or not torch.allclose(told.float(), own, atol=_TOLERANCE):
        raise ModelError(
            f"{model.name}: its {type(processor).__name__} does more than resize, rescale and "
            "normalise: give file.py:factory, a network with that inside"
        )
