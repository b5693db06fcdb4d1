"""Models of the zoo, loaded and checked."""

from __future__ import annotations

from tempering.core.errors import ModelError
from tempering.models.store import LoadedModel
from tempering.models.store import load as load_from_store
from tempering.models.zoo.entries import card, entry_folder


def load(name: str) -> LoadedModel:
    """Load a model of the zoo.

    Args:
        name: Such as `mnist-linf-0.1`, with or without `zoo:` before it.

    Returns:
        The model, on the CPU, in evaluation mode, and its manifest. Weights are stored in float16
        and loaded in float32; the evaluation on the card is of the loaded ones.

    Raises:
        UnknownNameError: If there is no such entry; the nearest are offered.
        ModelError: If weights, manifest or card are damaged, or do not belong together.

    Example:
        >>> load("mnist-linf-0.1").manifest.threat
        'linf:0.1'
    """
    folder, told = entry_folder(name), card(name)
    loaded = load_from_store(folder)
    if loaded.manifest.weights != told.weights:
        raise ModelError(
            f"the card of {told.name} is of weights {told.weights}, and its folder has "
            f"{loaded.manifest.weights}: install Tempering again"
        )
    return loaded
