"""Features of a network: what goes into one of its layers, by default the last linear one."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.frozen import frozen
from tempering.core.user_code import device_of

BATCH_SIZE = 256
"""Images whose features or scores are computed at once."""


def feature_layer(network: nn.Module, layer: str | None) -> nn.Module:
    """The layer whose input are the features.

    Args:
        network: Any network.
        layer: Its name in the network; None for the last linear layer.

    Raises:
        ModelError: If there is no such layer.

    Example:
        >>> feature_layer(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), None)
        Linear(in_features=3, out_features=2, bias=True)
    """
    if layer is not None:
        try:
            return network.get_submodule(layer)
        except AttributeError:
            names = [name for name, _ in network.named_modules() if name]
            raise ModelError(
                f"{type(network).__name__} has no layer {layer!r}: give one of {', '.join(names)}"
            ) from None
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ModelError(
            f"{type(network).__name__} has no linear layer: "
            "give layer, the name of the layer whose input are the features"
        )
    return linear[-1]


def require_network(owner: nn.Module, network: object) -> nn.Module:
    """The network of a detector, or a refusal of what is none.

    Raises:
        ModelError: If it is no module.
    """
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{type(owner).__name__}: network {network!r}: give a network from images to logits"
        )
    return network


def features(network: nn.Module, x: Tensor, layer: str | None = None) -> Tensor:
    """Features of images, differentiable, shape (n, width).

    Args:
        network: From images to logits.
        x: Images in [0, 1], shape (n, c, h, w).
        layer: The layer whose input are the features; None for the last linear layer.

    Raises:
        ModelError: If there is no such layer, or the forward pass does not reach it.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(4, 2))
        >>> features(net, torch.ones(2, 1, 2, 2)).shape
        torch.Size([2, 4])
    """
    return features_and_answer(network, x, layer)[0]


def features_and_answer(
    network: nn.Module, x: Tensor, layer: str | None = None
) -> tuple[Tensor, Tensor]:
    """Features of images, shape (n, width), and what the network says, from one forward pass.

    Args:
        network: From images to logits.
        x: Images in [0, 1], shape (n, c, h, w).
        layer: The layer whose input are the features; None for the last linear layer.

    Raises:
        ModelError: If there is no such layer, or the forward pass does not reach it.
    """
    inputs: list[Tensor] = []
    thread = threading.get_ident()

    def remember(_module: nn.Module, given: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            inputs.append(given[0])

    hook = feature_layer(network, layer).register_forward_pre_hook(remember)
    try:
        answer: Tensor = network(x.clone())
    finally:
        hook.remove()
    if not inputs:
        raise ModelError(
            f"{type(network).__name__} does not use its layer {layer or 'that is linear'}: "
            "give layer, the name of another one"
        )
    return inputs[-1].flatten(1), answer


def finite_features(network: nn.Module, x: Tensor, layer: str | None = None) -> Tensor:
    """Features of many images, without gradients, on the CPU, float32.

    Raises:
        ModelError: If there is no such layer, or features are not finite.
    """
    device = device_of(network)
    with frozen(network) as view, torch.no_grad():
        parts = [
            features(view, part.to(device), layer).cpu() for part in torch.split(x, BATCH_SIZE)
        ]
    embedded = torch.cat(parts).float()
    bad = (~embedded.isfinite().all(1)).nonzero()[:, 0]
    if len(bad):
        raise ModelError(
            f"features of {type(network).__name__} for image {int(bad[0])} are not finite: "
            "give a network with finite features"
        )
    return embedded


def require_width(owner: nn.Module, network: nn.Module, layer: str | None, width: int) -> None:
    """Refuse a network whose features are not as wide as those that a detector was fitted to.

    Raises:
        ModelError: Naming both widths.
    """
    last = feature_layer(network, layer)
    if width and isinstance(last, nn.Linear) and last.in_features != width:
        raise ModelError(
            f"{type(owner).__name__} was fitted to {width} features and its network has "
            f"{last.in_features}: give the network that it was fitted with"
        )
