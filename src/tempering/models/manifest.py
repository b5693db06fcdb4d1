"""The manifest beside a model's weights: how to build the model, and how it was trained."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tempering.core.errors import ModelError
from tempering.core.files import followed
from tempering.models.zoo.entries import entry_folder, entry_of

WEIGHTS_FILE = "model.safetensors"
MANIFEST_FILE = "manifest.json"


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("tempering", "torch", "safetensors")}
    return {"python": platform.python_version(), **packages}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Manifest(BaseModel):
    """The content of `manifest.json`.

    Attributes:
        architecture: `model.architecture` of a registered network, in which a part of a user's
            own is named by its factory (`own_part`); or `file.py:factory`.
        classes: Names of the classes, in the order of the outputs.
        shape: Channels, height and width of the images.
        threat: What the model was hardened against, such as `linf:0.3`; empty if unknown.
        data: Address of the data; empty if unknown.
        data_hash: Content hash of the data; empty if unknown.
        split: Name of the split.
        seed: Seed of the run.
        weights: Hash of the weights; `save` fills it in.
        versions: Package -> version with which the model was saved.
        created: Date and time, UTC, ISO 8601.
        factory_file: Absolute path of the user's file that built the model; empty for others.
        factory_hash: Hash of that file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: dict[str, Any] | str
    classes: list[str]
    shape: tuple[int, int, int]
    threat: str = ""
    data: str = ""
    data_hash: str = ""
    split: str = "official"
    seed: int = 0
    weights: str = ""
    versions: dict[str, str] = Field(default_factory=_versions)
    created: str = Field(default_factory=_now)
    factory_file: str = ""
    factory_hash: str = ""


def weights_path(path: Path | str) -> Path:
    """The weights file of a run folder or of an entry of the zoo, or the file itself.

    Raises:
        ModelError: If there is no weights file.
        UnknownNameError: If there is no such entry of the zoo.
    """
    if not isinstance(path, str | Path):
        raise ModelError(f"model {path!r} is no path: give a run folder or a .safetensors file")
    entry = entry_of(path)
    path = followed(Path(path)) if entry is None else entry_folder(entry)
    weights = path / WEIGHTS_FILE if path.is_dir() else path
    if weights.suffix != ".safetensors" or not weights.is_file():
        raise ModelError(
            f"no model at {path}: give a run folder, a .safetensors file with its "
            f"{MANIFEST_FILE} beside it, or file.py:factory"
        )
    return weights


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a saved model. Code that it names is not run.

    Args:
        path: A run folder, a `.safetensors` file with its manifest beside it, or `zoo:NAME`.

    Returns:
        The manifest.

    Raises:
        ModelError: If model or manifest is missing, or the manifest is invalid.
    """
    file = weights_path(path).parent / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ModelError(
            f"cannot read {file}: {error.strerror}: put the manifest beside the weights, "
            "or give file.py:factory and the weights"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(
            f"{file} is not a manifest of Tempering: {where}: {first['msg']}: "
            "give one written by `temper harden`"
        ) from error
