"""What a run has measured so far, so that nothing is measured twice after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tempering.app.folder import RunFolder
from tempering.core.engine import Engine
from tempering.core.errors import RunError
from tempering.core.files import write_with
from tempering.core.records import AnyRecord, Measurement
from tempering.evaluation.outcome import Outcome
from tempering.evaluation.recording import Trial

_RECORDS: TypeAdapter[list[AnyRecord]] = TypeAdapter(list[AnyRecord])
_PARTS = tuple(field.name for field in fields(Outcome))


class Entry(NamedTuple):
    """A record, and what became of each sample where that matters later."""

    record: AnyRecord
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Journal:
    """Finished measurements in the run's folder, one file a stage.

    Attributes:
        folder: The run.
        engine: All processes read, one writes.
        key: Says what is measured; a file of another key is measured anew.
    """

    folder: RunFolder
    engine: Engine
    key: str

    def entries(self, stage: str, measure: Callable[[], Sequence[Entry]]) -> list[Entry]:
        """The entries of a stage: those that were saved, or else measured now and saved."""
        path = self.folder.checkpoint(f"measured-{stage}")
        if self.engine.agree(path.exists()):
            saved = self._read(stage)
            if saved is not None:
                return saved
        entries = list(measure())
        if self.engine.leads:
            tensors: dict[str, Tensor] = {}
            for number, entry in enumerate(entries):
                for part in _PARTS if entry.outcome else ():
                    value = getattr(entry.outcome, part)
                    if value is not None:
                        tensors[f"{number}/{part}"] = value.contiguous().clone()
            records = _RECORDS.dump_python([entry.record for entry in entries], mode="json")
            metadata = {"key": self.key, "records": json.dumps(records)}
            content = save(tensors, metadata)
            write_with(path, lambda temporary: temporary.write_bytes(content))
        self.engine.wait()
        return entries

    def trials(self, stage: str, measure: Callable[[], Sequence[Trial]]) -> list[Trial]:
        """The trials of a stage, measured once."""
        entries = self.entries(
            stage, lambda: [Entry(trial.measurement, trial.outcome) for trial in measure()]
        )
        return [_trial(entry) for entry in entries]

    def _read(self, stage: str) -> list[Entry] | None:
        path = self.folder.checkpoint(f"measured-{stage}")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                if metadata["key"] != self.key:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            records = _RECORDS.validate_json(metadata["records"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}: delete it and resume") from error
        return [Entry(record, _outcome(number, tensors)) for number, record in enumerate(records)]


def _outcome(number: int, tensors: dict[str, Tensor]) -> Outcome | None:
    if f"{number}/predicted" not in tensors:
        return None
    return Outcome(**{part: tensors.get(f"{number}/{part}") for part in _PARTS})  # type: ignore[arg-type]


def _trial(entry: Entry) -> Trial:
    if not isinstance(entry.record, Measurement) or not isinstance(entry.outcome, Outcome):
        raise RunError(f"the journal holds no trial where one was saved: {entry.record.kind}")
    return Trial(entry.record, entry.outcome)


def images_of(outcome: Outcome) -> Tensor:
    """The images that a model was shown.

    Raises:
        RunError: If they were not kept.
    """
    if outcome.x_adv is None:
        raise RunError("these images were not kept")
    return outcome.x_adv.to(torch.float32)
