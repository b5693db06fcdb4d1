"""Where in a network clean and attacked images part: distances of features, layer by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.probe import Probe

INPUT, LOGITS = "input", "logits"


@dataclass
class _Watched:
    """Features of the layers in the order in which they ran."""

    features: dict[str, Tensor] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


def layer_distances(
    probe: Probe, x: Tensor, others: Sequence[Tensor], batch_size: int = 256
) -> tuple[dict[str, str], list[dict[str, Tensor]]]:
    """Relative L2 distance of the features of images from those of the clean images.

    Watched are the input, every layer without layers of its own whose output is one tensor of
    floats a sample, and the logits.

    Args:
        probe: The model.
        x: Clean images, shape (n, c, h, w).
        others: Images to compare, each of the shape of x.
        batch_size: Images at a time.

    Returns:
        Layer -> its class, in the order in which layers run; and for each of `others` layer ->
        |h(other) - h(x)| / |h(x)|, shape (n,), float64; NaN where h(x) is zero.
    """
    kinds: dict[str, str] = {}
    parts: list[dict[str, list[Tensor]]] = [{} for _ in others]
    for at in range(0, len(x), batch_size):
        rows = slice(at, at + batch_size)
        clean = _features(probe, x[rows])
        kinds |= clean.kinds
        for other, part in zip(others, parts, strict=True):
            seen = _features(probe, other[rows])
            for layer, features in clean.features.items():
                there = seen.features.get(layer)
                if there is not None and there.shape == features.shape:
                    part.setdefault(layer, []).append(_relative(there, features))
    n = len(x)
    joined = [{layer: torch.cat(values) for layer, values in part.items()} for part in parts]
    whole = [layer for layer in kinds if all(len(part.get(layer, ())) == n for part in joined)]
    return (
        {layer: kinds[layer] for layer in whole},
        [{layer: part[layer] for layer in whole} for part in joined],
    )


def _relative(there: Tensor, features: Tensor) -> Tensor:
    change, size = (
        part.flatten(1).float().norm(dim=1).cpu().double() for part in (there - features, features)
    )
    return torch.where(size > 0, change / size, torch.nan)


def _features(probe: Probe, x: Tensor) -> _Watched:
    watched = _Watched({INPUT: x.detach().clone()}, {INPUT: "image"})
    with _watching(probe.model, watched, len(x)):
        logits = probe.logits(x)
    last = next(reversed(watched.features.values()))
    if last.shape != logits.shape or not torch.equal(last.to(logits), logits):
        watched.features[LOGITS], watched.kinds[LOGITS] = logits, "logits"
    return watched


@contextmanager
def _watching(model: nn.Module, watched: _Watched, n: int) -> Iterator[None]:
    """Within it, the outputs of layers are kept, as they are before anything writes into them."""
    turns: Counter[str] = Counter()
    handles = []

    def watch(name: str, layer: nn.Module) -> None:
        def keep(_layer: nn.Module, _given: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and len(output) == n:
                turns[name] += 1
                key = name if turns[name] == 1 else f"{name}#{turns[name]}"
                watched.features[key] = output.detach().clone()
                watched.kinds[key] = type(layer).__name__

        try:
            handles.append(layer.register_forward_hook(keep))
        except RuntimeError:
            return  # scripted and exported layers refuse hooks

    for name, layer in model.named_modules():
        if name and not any(True for _ in layer.children()):
            watch(name, layer)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
