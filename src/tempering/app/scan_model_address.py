"""Use case `scan model` for a model given by its address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from tempering.app.default_data import DEFAULT_DATA, require_default_data
from tempering.app.job import job
from tempering.app.model_address import (
    judged_model,
    judging_run,
    load_model,
    load_saved,
    refuse_factory,
    resolved_address,
)
from tempering.app.output_files import check_new_folder
from tempering.app.scan_model import NO_ATTACK, ModelScanOptions, scan_module
from tempering.app.scanned_model import ScannedModel
from tempering.app.untrained import note_if_untrained
from tempering.core.errors import UsageError
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.models.hub.address import hub_of, is_foreign
from tempering.models.manifest import Manifest
from tempering.models.own_code import factory_files


@dataclass(frozen=True)
class ScanAddress:
    """Where a model and clean data are.

    Attributes:
        model: A run folder, a `.safetensors` with its manifest, `zoo:NAME`, `file.py:factory`,
            `timm:NAME`, `hf:ORG/NAME` or `hf:DIR`.
        weights: For `file.py:factory`, or instead of a library's own.
        factory: `file.py:factory` for a run folder whose own file has moved or changed.
        data: Address of clean data; None for the data of the model's manifest, or mnist.
        split: Of the data; official if it is not that of the manifest.
        seed: Of the split, where it is not that of the manifest.
    """

    model: str
    weights: Path | None = None
    factory: str | None = None
    data: str | None = None
    split: str | None = None
    seed: int = 0

    def load(self) -> tuple[nn.Module, Splits, Manifest]:
        """The model, its data, and the manifest that a repaired model has.

        Raises:
            UsageError: If options do not fit together.
            ModelError: If there is no such model.
            DataError: If there are no such data.
        """
        if (run := judging_run(self.model)) is not None:
            told, model, weights = judged_model(run)
            data = self.data or (told.data if is_foreign(model) else None)
            return replace(self, model=model, weights=weights, data=data).load()
        if not is_foreign(self.model):
            saved = load_saved(self.model, self.weights, self.factory)
            source = self.data or saved.manifest.data or DEFAULT_DATA
            own = source == saved.manifest.data
            split = self.split or (saved.manifest.split if own else "official")
            seed = saved.manifest.seed if own else self.seed
            return saved.model, load(source, split, seed), saved.manifest
        refuse_factory(self.factory, self.model)
        splits = load(self.data or DEFAULT_DATA, self.split or "official", self.seed)
        module = load_model(self.model, self.weights, x=splits.test.first(1).x)
        if self.data is None:
            require_default_data(module, self.model, splits)
        if self.weights is None:
            note_if_untrained(module, self.model, splits.test)
        manifest = Manifest(
            architecture=self.model if hub_of(self.model) is None else resolved_address(self.model),
            classes=list(splits.classes),
            shape=splits.shape,
            threat=NO_ATTACK,
            data=splits.address,
            data_hash=splits.data_hash,
            split=splits.split,
            seed=self.seed,
            **factory_files(self.model),
        )
        return module, splits, manifest


@job()
def scan_model_address(
    address: ScanAddress,
    options: ModelScanOptions,
    out: Path | None = None,
    repaired: Path | None = None,
    command: str = "",
) -> ScannedModel:
    """Look for a backdoor in a model given by its address, and write what was found.

    Args:
        address: Model and clean data.
        options: What is done.
        out: A new folder for the scan; None to write nothing.
        repaired: A new folder for the repaired model; it needs `options.repair`.
        command: What was called, for the record.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If the data does not suffice.
        ModelError: If the model is no classifier of the data, has no gradients, or cannot be
            repaired.
    """
    for folder, what in ((out, "the scan"), (repaired, "the repaired model")):
        if folder is not None:
            check_new_folder(folder, what)
    if options.samples is not None and options.samples < 1:
        raise UsageError(f"{options.samples} samples: give at least 1")
    model, splits, manifest = address.load()
    done = scan_module(model, address.model, splits, options, manifest)
    update: dict[str, object] = {"command": command}
    if done.repaired is not None and repaired is not None:
        update["repaired"] = str(repaired)
    done = replace(done, record=done.record.model_copy(update=update))
    if repaired is not None and done.repaired is not None:
        done.save_repaired(repaired)
    if out is not None:
        done.save(out)
    return done
