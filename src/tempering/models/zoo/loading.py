"""Models of the zoo, loaded and checked."""

from __future__ import annotations

from tempering.core.errors import ModelError
from tempering.core.threat_words import exact
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
    manifest = loaded.manifest
    pairs = {
        "weights": (told.weights, manifest.weights),
        "threat": (exact(told.threat), exact(manifest.threat)),
        "data": (told.data, manifest.data),
        "data with hash": (told.data_hash, manifest.data_hash),
    }
    for what, (claimed, held) in pairs.items():
        if claimed != held:
            raise ModelError(
                f"the card of {folder.name} is of {what} {claimed}, and its folder has {held}: "
                "install Tempering again"
            )
    return loaded
