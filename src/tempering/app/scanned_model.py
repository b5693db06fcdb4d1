"""The result of a scan of a model, as values and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from tempering.app.output_files import check_new_folder
from tempering.app.python_inputs import as_path
from tempering.core.errors import UsageError
from tempering.core.files import write_folder, write_text, write_with
from tempering.core.model_scan_records import ModelScan
from tempering.models.manifest import Manifest
from tempering.models.store import save
from tempering.poisoning.models.reconstruction import ReconstructedTrigger
from tempering.report.model_scan_page import TriggerPicture, write_page

PAGE, RECORD, TRIGGERS = "scan.html", "scan.json", "triggers.npz"


@dataclass(frozen=True, eq=False, repr=False)
class ScannedModel:
    """What a scan of a model found, and the repaired model.

    Attributes:
        record: Everything that was measured.
        triggers: The reconstructed triggers, by number of the class.
        repaired: The repaired network, on the CPU, in evaluation mode; None without a repair.
        again: The triggers of the repaired network; empty without a repair.
        manifest: What a manifest says of the repaired network.
    """

    record: ModelScan
    triggers: tuple[ReconstructedTrigger, ...]
    repaired: nn.Module | None
    again: tuple[ReconstructedTrigger, ...]
    manifest: Manifest

    @property
    def backdoor(self) -> bool:
        """Whether a class is suspect."""
        return self.record.backdoor

    def save(self, out: Path | str) -> Path:
        """Write `scan.html`, `scan.json` and `triggers.npz` into a new folder, all or nothing.

        `triggers.npz` holds `mask`, shape (classes, h, w), and `pattern`, shape (classes, c, h, w).

        Raises:
            UsageError: If the folder exists.
            RunError: If it cannot be written.
        """
        out = as_path(out)
        check_new_folder(out, "the scan")

        def fill(folder: Path) -> None:
            write_text(folder / RECORD, self.record.model_dump_json(indent=2) + "\n")
            write_with(folder / TRIGGERS, self._write_triggers)
            before, after = _pictures(self.triggers), _pictures(self.again)
            write_page(self.record, before, after, folder / PAGE)

        write_folder(out, fill)
        return out

    def save_repaired(self, out: Path | str) -> Path:
        """Write the repaired model into a new folder: weights and manifest.

        Raises:
            UsageError: If nothing was repaired, or the folder exists.
            RunError: If it cannot be written.
        """
        out = as_path(out)
        if self.repaired is None:
            raise UsageError(f"{out} for the repaired model: {self.record.finding}: leave it out")
        check_new_folder(out, "the repaired model")
        repaired, manifest = self.repaired, self.manifest
        write_folder(out, lambda folder: save(repaired, folder, manifest))
        return out

    def _write_triggers(self, path: Path) -> None:
        arrays = {
            "mask": np.stack([held.trigger.mask.numpy() for held in self.triggers]),
            "pattern": np.stack([held.trigger.values.numpy() for held in self.triggers]),
        }
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    def __repr__(self) -> str:
        return f"ScannedModel({self.record.model}: {self.record.finding})"


def _pictures(triggers: Sequence[ReconstructedTrigger]) -> list[TriggerPicture]:
    return [
        TriggerPicture(held.trigger.mask.numpy(), held.trigger.values.numpy()) for held in triggers
    ]
