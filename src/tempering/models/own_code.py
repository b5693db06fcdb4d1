"""The user's file that built a saved model, run again only while it is as it was."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from tempering.core.errors import ModelError
from tempering.core.files import file_hash
from tempering.core.notes import note
from tempering.models.hub.address import hub_of
from tempering.models.manifest import Manifest, read_manifest
from tempering.models.own_part import own_factory
from tempering.models.store import load


def recorded_factory(path: Path, manifest: Manifest, remedy: str) -> str | None:
    """The user's factory that built a model, if its file is as it was.

    Args:
        path: Of the model.
        manifest: Its manifest.
        remedy: What a user can give instead, with `{name}` for the name of the factory.

    Returns:
        `file.py:factory`; None if the manifest names no file.

    Raises:
        ModelError: If the file has moved or changed.
    """
    own = own_factory(manifest.architecture)
    if own is None or not manifest.factory_file:
        return None
    file, name = Path(manifest.factory_file), own.rpartition(":")[2]
    if not file.is_file() or file_hash(file) != manifest.factory_hash:
        what = "has changed" if file.is_file() else "is no longer there"
        raise ModelError(
            f"{file}, which built the model of {path}, {what}: {remedy.format(name=name)}"
        )
    note(f"running {file}, which built the model of {path}")
    return f"{file}:{name}"


def factory_files(spec: str) -> dict[str, str]:
    """What a manifest says of the file that built a model; nothing of a library's network.

    Args:
        spec: `file.py:factory`, or the address of a library's network.

    Example:
        >>> factory_files("timm:resnet18")
        {}
    """
    if hub_of(spec) is not None:
        return {}
    file = Path(spec.rpartition(":")[0]).resolve()
    return {"factory_file": str(file), "factory_hash": file_hash(file)}


def load_beside(path: Path | str) -> nn.Module:
    """A saved model that is used beside the one under attack, such as a surrogate.

    Args:
        path: A run folder, or a `.safetensors` file with its manifest beside it.

    Raises:
        ModelError: If there is none, or its own code is no longer as it was.
    """
    manifest = read_manifest(Path(path))
    instead = "give file.py:{name} in its place, a factory that loads the weights"
    factory = recorded_factory(Path(path), manifest, f"restore it, or {instead}")
    own = own_factory(manifest.architecture)
    if factory is None and own is not None and hub_of(own) is None:
        raise ModelError(
            f"the model of {path} was built by your own code, {own}, and its "
            f"manifest does not say which file: {instead.format(name='factory')}"
        )
    return load(path, factory).model
