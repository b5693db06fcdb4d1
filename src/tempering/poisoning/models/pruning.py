"""Fine-pruning: neurons that clean images leave dormant are removed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.probe import probing
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset

BATCH = 256
LEVELS = 16
"""Numbers of removed neurons that are tried."""


@dataclass(frozen=True)
class Pruned:
    """What was removed.

    Attributes:
        layer: Name of the layer.
        rows: Filters or neurons removed, ascending.
        of: How many the layer had.
    """

    layer: str
    rows: tuple[int, ...]
    of: int

    def apply(self, model: nn.Module) -> None:
        """Remove them from a model, in place: their weights become zero."""
        _remove(model.get_submodule(self.layer), torch.tensor(self.rows, dtype=torch.int64))


def prune(model: nn.Module, clean: Dataset, most_lost: float) -> Pruned:
    """Remove the filters that clean images activate least, while clean accuracy holds.

    Liu, Dolan-Gavitt and Garg, 'Fine-pruning: defending against backdooring attacks on deep neural
    networks', 2018, section 3.2: filters of the last convolution; without convolutions, neurons
    of the last hidden linear layer. Those to be removed are set to zero.

    Args:
        model: Returns logits; it is changed.
        clean: Clean images.
        most_lost: Accuracy on them that may be lost, a fraction.

    Returns:
        What was removed.

    Raises:
        ModelError: If there is no layer to prune.
    """
    name, layer = prunable_layer(model)
    order = _activity(model, layer, clean).argsort(stable=True).cpu()
    before = {key: value.detach().clone() for key, value in layer.state_dict().items()}
    least = _correct(model, clean) - most_lost * len(clean)
    steps = sorted({round(len(order) * level / LEVELS) for level in range(1, LEVELS)} - {0})
    kept = 0
    for count in steps:
        _remove(layer, order[:count])
        if _correct(model, clean) < least:
            break
        kept = count
    layer.load_state_dict(before)
    done = Pruned(name, tuple(sorted(order[:kept].tolist())), len(order))
    done.apply(model)
    return done


def prunable_layer(model: nn.Module) -> tuple[str, nn.Module]:
    """The last convolution; without one, the last linear layer but the output.

    Raises:
        ModelError: If there is neither.
    """
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        and isinstance(module._parameters.get("weight"), Tensor)
    ]
    convolutions = [pair for pair in layers if isinstance(pair[1], nn.Conv2d)]
    hidden = convolutions or layers[:-1]
    if not hidden:
        raise ModelError(
            f"{type(model).__name__} has neither a convolution nor a hidden linear layer to prune: "
            "give the method unlearning"
        )
    return hidden[-1]


def _activity(model: nn.Module, layer: nn.Module, clean: Dataset) -> Tensor:
    """Mean positive activation of each filter."""
    seen: list[Tensor] = []

    def remember(_layer: nn.Module, _given: object, out: Tensor) -> None:
        axes = [axis for axis in range(out.ndim) if axis != _axis(layer, out)]
        seen.append(out.detach().clamp_min(0).float().mean(axes) * len(out))

    hook = layer.register_forward_hook(remember)
    try:
        _correct(model, clean)
    finally:
        hook.remove()
    if not seen:
        raise ModelError(
            f"{type(model).__name__} does not use its last convolution or hidden layer: "
            "give the method unlearning"
        )
    return torch.stack(seen).sum(0)


def _axis(layer: nn.Module, out: Tensor) -> int:
    return 1 if isinstance(layer, nn.Conv2d) else out.ndim - 1


@torch.no_grad()
def _remove(layer: nn.Module, rows: Tensor) -> None:
    for tensor in (layer._parameters.get("weight"), layer._parameters.get("bias")):
        if tensor is not None:
            tensor[rows.to(tensor.device)] = 0


def _correct(model: nn.Module, data: Dataset) -> int:
    hits, device = 0, device_of(model)
    with probing(model) as probe:
        for rows in torch.split(torch.arange(len(data)), BATCH):
            predicted = probe.logits(data.images(rows).to(device)).argmax(1).cpu()
            hits += int((predicted == data.y[rows]).sum())
    return hits
