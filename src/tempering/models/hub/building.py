"""Builds networks of timm and of transformers, behind the boundary around foreign code."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from tempering.core.user_code import users_code
from tempering.models.hub.address import HubAddress
from tempering.models.hub.preprocessed import Preprocessed
from tempering.models.hub.timm_source import timm_network
from tempering.models.hub.transformers_source import transformers_network
from tempering.models.seeded import seeded
from tempering.models.weights import fit_weights, read_weights

_TALKATIVE = ("huggingface_hub", "transformers", "timm")
"""Loggers that warn of every attempt to reach the hub."""


def pretrained_network(address: HubAddress) -> Preprocessed:
    """A network with the weights that its library has for it.

    Raises:
        ModelError: If the library is missing, or the model cannot be had.
    """
    remedy = "check the name and the connection to the Hugging Face hub"
    if address.folder is not None:
        remedy = "give a folder that save_pretrained() wrote"
    _import(address)
    with users_code(f"{address} cannot be loaded", remedy), _quiet(), seeded(0):
        if address.prefix == "timm":
            return timm_network(address, pretrained=True)
        return transformers_network(address, pretrained=True)


def fresh_network(
    address: HubAddress, seed: int = 0, tensors: Mapping[str, Tensor] | None = None
) -> Preprocessed:
    """The same network with random weights.

    Args:
        address: See `HubAddress`.
        seed: Of the weights.
        tensors: Weights that it shall fit; a network of timm has as many outputs as they have.

    Raises:
        ModelError: If the library is missing, or the network cannot be built.
    """
    _import(address)
    remedy = "check the name and the connection to the Hugging Face hub"
    with users_code(f"{address} cannot be built", remedy), _quiet(), seeded(seed):
        if address.prefix == "timm":
            return timm_network(address, pretrained=False, tensors=tensors)
        return transformers_network(address, pretrained=False)


def network_with(address: HubAddress, weights: Path) -> Preprocessed:
    """The same network with weights of a file, either of the bare network or with preprocessing.

    Raises:
        ModelError: If the network cannot be built, or the weights do not fit.
    """
    tensors = read_weights(weights)
    model = fresh_network(address, tensors=tensors)
    whole = any(name.endswith("normalize.mean") for name in tensors)
    fit_weights(model if whole else model.network, tensors, weights)
    return model


def _import(address: HubAddress) -> None:
    """Import the library; without one of its own requirements it is there, but fails."""
    address.require()
    install = f"pip install 'tempering[{address.library}]'"
    with users_code(f"{address} needs {address.library}, which fails to load", install):
        importlib.import_module(address.library)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what libraries log below errors: our message says it in one line."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
