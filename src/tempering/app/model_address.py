"""Models by their addresses: saved ones, those of the zoo, a user's file, or a library."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from tempering.app.folder import VERDICTS, RunFolder
from tempering.app.model_paths import require_place
from tempering.core.errors import ModelError, UsageError
from tempering.core.files import followed
from tempering.core.notes import note
from tempering.core.records import Provenance, load_records
from tempering.models.foreign import load_foreign
from tempering.models.hub.address import hub_of, is_foreign
from tempering.models.manifest import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    read_manifest,
    weights_path,
)
from tempering.models.own_code import load_beside, recorded_factory
from tempering.models.store import LoadedModel
from tempering.models.store import load as load_from_store
from tempering.models.zoo.entries import entry_of


def load_model(
    address: str,
    weights: Path | None = None,
    factory: str | None = None,
    x: Tensor | None = None,
) -> nn.Module:
    """Load a model by its address.

    Args:
        address: A run folder, a `.safetensors` with its manifest, `zoo:NAME`, `file.py:factory`,
            `timm:NAME`, `hf:ORG/NAME` or `hf:DIR`.
        weights: For `file.py:factory`, or instead of a library's own.
        factory: See `load_saved`.
        x: Some images, shape (n, c, h, w), that give lazy layers their shapes.

    Raises:
        ModelError: If there is no such model, or files do not fit together.
        UsageError: If weights are given for a model that has its own.
    """
    if (run := judging_run(address)) is not None:
        _, model, its_weights = judged_model(run)
        return load_model(model, its_weights, factory, x)
    if not is_foreign(address):
        return load_saved(address, weights, factory).model
    refuse_factory(factory, address)
    return load_foreign(address, None if weights is None else _held_weights(weights), x=x)


def load_saved(
    address: str, weights: Path | None = None, factory: str | None = None
) -> LoadedModel:
    """Load a model with its manifest.

    Args:
        address: A run folder, a `.safetensors` with its manifest beside it, or `zoo:NAME`.
        weights: Must be None: the model has its own.
        factory: `file.py:factory` that builds the network; by default that of the manifest, if
            its file is as it was.

    Raises:
        ModelError: If there is no such model, or files do not fit together.
        UsageError: If weights are given.
    """
    path = require_place(address)
    if weights is not None:
        raise UsageError(f"weights {weights} for {address}, which has its own: leave --weights out")
    manifest = read_manifest(path)
    remedy = "say where it is with --model file.py:{name}"
    return load_from_store(path, factory or recorded_factory(path, manifest, remedy))


def load_surrogate(address: str, x: Tensor) -> nn.Module:
    """The model of a gray-box attacker by its address.

    Args:
        address: See `load_model`.
        x: Some images, shape (n, c, h, w), that give lazy layers their shapes.

    Raises:
        ModelError: If there is no such model, or files do not fit together.
    """
    if is_foreign(address) or judging_run(address) is not None:
        return load_model(address, x=x)
    return load_beside(require_place(address))


def judging_run(address: str) -> Path | None:
    """The folder of a run that judged a model and has none of its own; None for anything else."""
    path = followed(Path(address))
    own = any((path / name).exists() for name in (MANIFEST_FILE, WEIGHTS_FILE))
    return path if (path / VERDICTS).is_file() and not own else None


def judged_model(run: Path) -> tuple[Provenance, str, Path | None]:
    """What a run that judged a model says, with the model's address and weights; it is noted.

    Raises:
        ModelError: If the run does not say, or the model is no longer there.
    """
    told, address, weights = recorded_model(run)
    note(f"{run} is a run of `temper evaluate`: the model that it judged is taken, {address}")
    return told, address, weights


def recorded_model(run: Path) -> tuple[Provenance, str, Path | None]:
    """The same, for a caller that asked for the run itself.

    Raises:
        ModelError: If the run does not say, or the model is no longer there.
    """
    records = load_records(RunFolder(run).records)
    told = next((record for record in records if isinstance(record, Provenance)), None)
    address = "" if told is None else str(told.recipe.get("model", ""))
    if told is None or not address or not _is_there(address):
        where = f", {address}, is no longer there" if address else " is not recorded"
        raise ModelError(
            f"no model at {run}: {run.resolve().name} is a run of `temper evaluate`, and the model "
            f"that it evaluated{where}: give the model"
        )
    weights = told.recipe.get("weights")
    return told, address, None if weights is None else Path(weights)


def refuse_factory(factory: str | None, address: str) -> None:
    """Refuse a factory beside a model that needs none.

    Raises:
        UsageError: If there is one.
    """
    if factory is not None:
        kind = "a factory" if hub_of(address) is None else "built by a library"
        raise UsageError(f"--model {factory} for {address}, which is {kind}: leave it out")


def resolved_address(address: str) -> str:
    """An address that is that of the same model, whatever folder is the current one later.

    Example:
        >>> resolved_address("timm:resnet18"), resolved_address("zoo:mnist-linf-0.1")
        ('timm:resnet18', 'zoo:mnist-linf-0.1')
    """
    if entry_of(address) is not None:
        return address
    if (hub := hub_of(address)) is not None:
        return str(hub.resolved())
    file, colon, name = address.rpartition(":") if is_foreign(address) else (address, "", "")
    return f"{Path(file).resolve()}{colon}{name}"


def _is_there(address: str) -> bool:
    """Whether files of a model are there, as far as it has some on this machine."""
    if (hub := hub_of(address)) is not None:
        return hub.folder is None or hub.folder.exists()
    place = Path(address.rpartition(":")[0] if is_foreign(address) else address)
    return entry_of(address) is not None or place.exists()


def _held_weights(weights: Path) -> Path:
    """A file of weights; within a run that judged a model, that model's."""
    if weights.exists() or (run := judging_run(str(weights.parent))) is None:
        return weights
    _, address, held = judged_model(run)
    if held is None and not is_foreign(address):
        return weights_path(Path(address))
    return held or weights
