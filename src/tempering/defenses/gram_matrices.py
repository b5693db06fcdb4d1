"""Gram matrices of a layer's features, and a network that shows them beside its logits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.defenses.features import feature_layer

MOST_CHANNELS = 128
"""Channels of which Gram matrices are made; of more the features are averaged in groups."""
_SMALL = 1e-6


def gram_features(features: Tensor, powers: int) -> Tensor:
    """Upper triangles of Gram matrices of powers of the features, each with its root taken.

    Ma et al., 2023, section IV-B. Features without positions have one such matrix, whatever the
    power.

    Args:
        features: Shape (n, channels) or (n, channels, ...).
        powers: Powers 1 to this.

    Returns:
        Shape (n, powers x channels x (channels + 1) / 2), or without `powers x`.

    Example:
        >>> gram_features(torch.ones(2, 3, 4, 4), powers=2).shape
        torch.Size([2, 12])
    """
    held = features.flatten(2) if features.ndim > 2 else features[..., None]
    if held.shape[1] > MOST_CHANNELS:
        groups = held.tensor_split(MOST_CHANNELS, 1)
        held = torch.stack([group.mean(1) for group in groups], 1)
    rows, columns = torch.triu_indices(held.shape[1], held.shape[1], device=held.device)
    parts = []
    for power in range(1, (powers if held.shape[2] > 1 else 1) + 1):
        raised = held**power
        gram = torch.bmm(raised, raised.transpose(1, 2))[:, rows, columns] / held.shape[2]
        parts.append(gram if power == 1 else gram.sign() * (gram.abs() + _SMALL) ** (1 / power))
    return torch.cat(parts, 1)


@contextmanager
def observed(
    network: nn.Module, layer: str | None
) -> Iterator[Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """From images to logits and the input of a layer, differentiable, in one forward pass.

    Args:
        network: From images to logits.
        layer: The layer whose input are the features; None for the last linear layer.

    Raises:
        ModelError: If there is no such layer, or the forward pass does not reach it.
    """
    seen: list[Tensor] = []
    thread = threading.get_ident()

    def remember(_module: nn.Module, given: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            seen.append(given[0])

    def ask(x: Tensor) -> tuple[Tensor, Tensor]:
        seen.clear()
        logits: Tensor = network(x.clone())
        if not seen:
            raise ModelError(
                f"{type(network).__name__} does not use its layer {layer or 'that is linear'}: "
                "give layer, the name of another one"
            )
        return logits, seen[-1]

    hook = feature_layer(network, layer).register_forward_pre_hook(remember)
    try:
        yield ask
    finally:
        hook.remove()
