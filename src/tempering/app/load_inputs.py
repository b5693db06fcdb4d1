"""A model and its data by their addresses, with what the model's manifest says of both."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tempering.app.folder import VERDICTS, RunFolder
from tempering.core.errors import ModelError, UsageError
from tempering.core.files import file_hash, followed
from tempering.core.records import Provenance, load_records
from tempering.core.threats import Threat, parse_threat
from tempering.data.dataset import Dataset
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.models.foreign import load_foreign
from tempering.models.manifest import MANIFEST_FILE, Manifest, read_manifest, weights_path
from tempering.models.store import load as load_model


@dataclass(frozen=True)
class InputAddress:
    """Where a model and its data are; what is None is as the model's manifest says.

    Attributes:
        model: A run folder, a `.safetensors` with its manifest, or `file.py:factory`.
        weights: For `file.py:factory`.
        data: Address of the data; without a manifest mnist.
        split: Split of the data; official if the data are not those of the manifest.
        threat: Such as `linf:0.3`; required without a manifest.
        seed: Seed of all draws, 0 by default; it also splits data that are not the manifest's.

    Example:
        `InputAddress("runs/latest").load().take(100, "first")`
    """

    model: str
    weights: Path | None = None
    data: str | None = None
    split: str | None = None
    threat: str | None = None
    seed: int | None = None

    def resolved(self) -> dict[str, str | None]:
        """Where model and weights are, whatever folder is the current one later."""
        file, colon, name = self.model.rpartition(":")
        if ".py:" not in self.model:
            file, colon, name = self.model, "", ""
        weights = None if self.weights is None else str(self.weights.resolve())
        return {"model": f"{Path(file).resolve()}{colon}{name}", "weights": weights}

    def load(self) -> LoadedInputs:
        """Load the model and its data.

        Raises:
            UsageError: If nothing says what the threat is, or a name is unknown.
            ModelError: If there is no such model.
            DataError: If there are no such data.
        """
        model, manifest = load_model_by_address(self.model, self.weights)
        text = self.threat or (manifest.threat if manifest else None)
        if text is None:
            raise UsageError(f"no threat for {self.model}: give one, such as --threat linf:0.3")
        threat = parse_threat(text)
        source = self.data or (manifest.data if manifest else "mnist")
        seed = self.seed or 0
        if manifest is not None and source == manifest.data:
            splits = load(source, self.split or manifest.split, manifest.seed)
        else:
            splits = load(source, self.split or "official", seed)
        return LoadedInputs(model, manifest, threat, splits, seed)


DEFAULT_SAMPLES = 1000
"""Test images that are used if nothing else is said, or all if there are fewer."""


@dataclass(frozen=True, eq=False)
class LoadedInputs:
    """A model, its threat and its data.

    Attributes:
        model: From images in [0, 1] to logits.
        manifest: What was written down with it; None for a network from a Python file.
        threat: What an attacker may change.
        splits: Its data.
        seed: Of all draws.
    """

    model: nn.Module
    manifest: Manifest | None
    threat: Threat
    splits: Splits
    seed: int

    def take(self, samples: int | None, subset: str) -> Dataset:
        """Some test images; by default 1,000, or all if there are fewer.

        Args:
            samples: How many.
            subset: Which, see `Dataset.take`.

        Raises:
            UsageError: If there are fewer than were asked for.
        """
        return take_samples(self.splits.test, samples, subset)


def load_model_by_address(
    address: str, weights: Path | None = None
) -> tuple[nn.Module, Manifest | None]:
    """Load a model by its address; with `file.py:factory` weights may have a manifest.

    Raises:
        ModelError: If there is no such model, or files do not fit together.
        UsageError: If weights are given for a model that has its own.
    """
    if ".py:" in address:
        return load_foreign(address, weights), None
    if weights is not None:
        raise UsageError(f"weights {weights} for {address}, which has its own: leave --weights out")
    path = followed(Path(address))
    if not path.exists():
        raise ModelError(
            f"no model at {address}: give a run folder, a .safetensors file with its manifest "
            "beside it, or file.py:factory"
        )
    if (path / VERDICTS).is_file() and not (path / MANIFEST_FILE).exists():
        return load_model_by_address(*_evaluated_model(path))
    manifest = read_manifest(path)
    loaded = load_model(path, _own_factory(path, manifest))
    return loaded.model, loaded.manifest


def _evaluated_model(run: Path) -> tuple[str, Path | None]:
    """Address and weights of the model that a run of `temper evaluate` is about.

    Raises:
        ModelError: If the run does not say, or the model is no longer there.
    """
    told = next(
        (one for one in load_records(RunFolder(run).records) if isinstance(one, Provenance)), None
    )
    address = "" if told is None else str(told.recipe.get("model", ""))
    place = Path(address.rpartition(":")[0] if ".py:" in address else address)
    if not address or not place.exists():
        where = f", {address}, is no longer there" if address else " is not recorded"
        raise ModelError(
            f"no model at {run}: {run.resolve().name} is a run of `temper evaluate`, and the model "
            f"that it evaluated{where}: give the model"
        )
    weights = None if told is None else told.recipe.get("weights")
    return address, None if weights is None else Path(weights)


def _own_factory(path: Path, manifest: Manifest) -> str | None:
    """The user's factory that built a model, if its file is as it was.

    Raises:
        ModelError: If the file has moved or changed.
    """
    if not isinstance(manifest.architecture, str) or not manifest.factory_file:
        return None
    file, name = Path(manifest.factory_file), manifest.architecture.rpartition(":")[2]
    if not file.is_file() or file_hash(file) != manifest.factory_hash:
        what = "has changed" if file.is_file() else "is no longer there"
        weights = weights_path(path)
        raise ModelError(
            f"{file}, which built the model of {path}, {what}: give file.py:{name} with "
            f"--weights {weights} --data {manifest.data} --threat {manifest.threat}"
        )
    warnings.warn(f"running {file}, which built the model of {path}", stacklevel=2)
    return f"{file}:{name}"


def take_samples(data: Dataset, samples: int | None, subset: str) -> Dataset:
    """Some samples of some data; by default 1,000, or all if there are fewer.

    Raises:
        UsageError: If there are fewer than were asked for.
    """
    if samples is None:
        return data.take(min(DEFAULT_SAMPLES, len(data)), subset)
    if not 1 <= samples <= len(data):
        raise UsageError(
            f"{samples} samples of {data.name}, which has {len(data)}: give 1 to {len(data)}"
        )
    return data.take(samples, subset)
