"""Networks of timm, with the preprocessing of their pretrained configuration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tempering.core.errors import UnknownNameError
from tempering.models.hub.address import HubAddress
from tempering.models.hub.preprocessed import Preprocessed, Preprocessing


def timm_network(
    address: HubAddress, *, pretrained: bool, tensors: Mapping[str, Tensor] | None = None
) -> Preprocessed:
    """Build a network of timm.

    Args:
        address: Such as `timm:resnet18` or `timm:resnet18.a1_in1k`.
        pretrained: Whether timm loads its weights, from its cache or the hub.
        tensors: Weights that the network shall fit; it has as many outputs as they have.

    Raises:
        UnknownNameError: If timm knows no such network; the nearest are offered.
    """
    timm: Any = importlib.import_module("timm")
    if ":" not in address.name and not timm.is_model(address.name):
        raise UnknownNameError("timm model", address.name, timm.list_models())
    network: nn.Module = timm.create_model(address.name, pretrained=pretrained)
    outputs = _outputs(network, tensors or {})
    if outputs is not None and outputs != getattr(network, "num_classes", outputs):
        network = timm.create_model(address.name, pretrained=pretrained, num_classes=outputs)
    config = importlib.import_module("timm.data").resolve_data_config({}, model=network)
    _, height, width = config["input_size"]
    stages = Preprocessing(tuple(config["mean"]), tuple(config["std"]), (height, width))
    return Preprocessed(network, stages, str(address))


def _outputs(network: nn.Module, tensors: Mapping[str, Tensor]) -> int | None:
    """Outputs of weights, told by the layer that timm calls the classifier."""
    config: Any = getattr(network, "pretrained_cfg", None) or {}
    layer = config.get("classifier")
    if not isinstance(layer, str):
        return None
    wanted = f".{layer}.weight"
    return next((len(t) for name, t in tensors.items() if f".{name}".endswith(wanted)), None)
