"""Saves and loads models: weights as safetensors, with a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tempering.core.errors import ModelError, UsageError
from tempering.core.files import write_text
from tempering.core.hashing import tensor_hash
from tempering.core.user_code import set_evaluation_mode
from tempering.models.adoption import initialise
from tempering.models.blueprint import Blueprint
from tempering.models.foreign import make_foreign
from tempering.models.half_storage import widened
from tempering.models.hub.address import hub_of
from tempering.models.hub.building import fresh_network
from tempering.models.manifest import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Manifest,
    read_manifest,
    weights_path,
)
from tempering.models.manifest_writing import manifest_of, require_same
from tempering.models.own_part import own_factory, with_own_parts
from tempering.models.registry import build
from tempering.models.weights import fit_weights, read_weights, weights_of, write_weights


@dataclass(frozen=True)
class LoadedModel:
    """A model and its manifest.

    Attributes:
        model: The network, on the CPU, in evaluation mode.
        manifest: Its manifest.
    """

    model: nn.Module
    manifest: Manifest


def save(model: nn.Module, path: Path | str, manifest: Manifest | None = None) -> Manifest:
    """Write `model.safetensors` and `manifest.json` into a folder, each atomically.

    Args:
        model: Any network whose state dict holds tensors only.
        path: The folder; it is created if needed.
        manifest: Its manifest, by default `manifest_of(model)`; the hash of the weights is
            filled in.

    Returns:
        The manifest as written.

    Raises:
        ModelError: If the state dict contains values other than tensors, the model is or contains
            a network of one's own and no manifest names its factory, or the manifest describes
            another model.
        RunError: If the folder cannot be written.
    """
    if not isinstance(path, str | Path):
        raise ModelError(f"path {path!r}: give the name of a folder")
    path = Path(path)
    if manifest is None:
        manifest = manifest_of(model)
    elif not isinstance(manifest, Manifest):
        raise ModelError(f"manifest {manifest!r}: give a Manifest, such as manifest_of(model)")
    require_same(model, manifest)
    tensors = weights_of(model)
    manifest = manifest.model_copy(update={"weights": tensor_hash(tensors)})
    write_weights(model, path / WEIGHTS_FILE)
    write_text(path / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def load(path: Path | str, factory: str | None = None) -> LoadedModel:
    """Load a saved model and verify the hash of its weights.

    A manifest may come from an untrusted source, so code that it names is not run: a model
    that was built by a user's file is loaded only if the caller names that factory. A network of
    timm or of transformers is built by that library.

    Weights that were stored in float16 are loaded in float32, where the hash is of those.

    Args:
        path: A run folder, a `.safetensors` file with its manifest beside it, or `zoo:NAME`.
        factory: `file.py:factory` that builds the network, for models that are not registered.

    Returns:
        The model, on the CPU, in evaluation mode, and its manifest.

    Raises:
        ModelError: If files are missing, truncated or altered, the architecture is
            unknown, or the weights do not fit it.
    """
    weights = weights_path(path)
    path = Path(path)
    manifest = read_manifest(path)
    tensors = read_weights(weights)
    if tensor_hash(tensors) != manifest.weights:
        tensors = widened(tensors)
    if tensor_hash(tensors) != manifest.weights:
        raise ModelError(
            f"{weights} was altered: its hash is {tensor_hash(tensors)}, the manifest says "
            f"{manifest.weights}: copy both files again from their source"
        )
    model = _network(manifest, weights, factory, tensors)
    fit_weights(model, tensors, weights)
    return LoadedModel(set_evaluation_mode(model), manifest)


def _network(
    manifest: Manifest, weights: Path, factory: str | None, tensors: Mapping[str, Tensor]
) -> nn.Module:
    architecture, own = manifest.architecture, own_factory(manifest.architecture)
    if factory is None and own is not None and hub_of(own) is not None:
        factory = own
    if factory is not None and (isinstance(architecture, str) or own is None):
        return _foreign(factory, tensors, manifest.shape)
    if factory is None and own is not None:
        shown = own if ":" in own else "file.py:factory"
        raise ModelError(
            f"{weights} was built by your own code, {own}: "
            f"to run that code, give --model {shown} beside it"
        )
    if factory is not None and isinstance(architecture, dict):
        architecture = with_own_parts(architecture, partial(_foreign, factory, tensors))
    file = weights.parent / MANIFEST_FILE
    try:
        blueprint = Blueprint.model_validate(architecture)
        return build(blueprint.name, blueprint.shape, blueprint.classes, **blueprint.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"{file}: architecture.{where}: {first['msg']}: "
            "give name, shape, classes and options of a registered network"
        ) from error
    except (UsageError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{file}: {error}") from error


def _foreign(factory: str, tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> nn.Module:
    if (hub := hub_of(factory)) is not None:
        return fresh_network(hub, tensors=tensors)
    return initialise(make_foreign(factory), torch.zeros(1, *shape))
