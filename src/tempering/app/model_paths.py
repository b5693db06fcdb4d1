"""Whether there is anything where a model is said to be; asked before torch is imported."""

from __future__ import annotations

from pathlib import Path

from tempering.core.errors import ModelError
from tempering.core.files import followed
from tempering.models.factory_place import factory_place
from tempering.models.manifest import WEIGHTS_FILE
from tempering.models.zoo.entries import entry_folder, entry_of

BEGUN = "checkpoint/run.json"
"""Settings of a run, written when it begins."""


def require_place(address: str) -> Path:
    """The run folder, weights file, Python file or entry of the zoo that a model is in.

    Raises:
        ModelError: If it is not there.
        UnknownNameError: If there is no such entry of the zoo.
    """
    if (entry := entry_of(address)) is not None:
        return entry_folder(entry)
    if ".py:" in address:
        return factory_place(address)[0]
    path = followed(Path(address))
    if not path.exists():
        raise ModelError(
            f"no model at {address}: give a run folder, a .safetensors file with its manifest "
            "beside it, file.py:factory, zoo:NAME, timm:NAME or hf:ORG/NAME"
        )
    if not _finished(path):
        raise ModelError(
            f"{address} is a run that has not finished, and has no model yet: continue it with "
            f"temper harden --resume {address}"
        )
    if path.suffix == ".py":
        raise ModelError(
            f"{address} is a Python file: give {address}:NAME, the function that builds the network"
        )
    if path.suffix in (".pt", ".pth"):
        raise ModelError(
            f"{address} holds weights and no network: give file.py:factory --weights {address}"
        )
    return path


def _finished(path: Path) -> bool:
    """Whether a path is no run, or one that has a model or a result."""
    begun = (path / BEGUN).is_file()
    return not begun or any((path / name).is_file() for name in (WEIGHTS_FILE, "summary.json"))
