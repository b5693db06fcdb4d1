"""What a run has measured so far, so that nothing is measured twice after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tempering.app.folder import RunFolder
from tempering.core.engine import Engine
from tempering.core.errors import RunError
from tempering.core.files import write_with
from tempering.core.passes import counted, note
from tempering.core.proofs import Proof
from tempering.core.records import AnyRecord, Flag, Measurement
from tempering.evaluation.certificates import CertifiedSamples
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.results import AttackResult

T = TypeVar("T")

_RECORDS: TypeAdapter[list[AnyRecord]] = TypeAdapter(list[AnyRecord])
_PARTS = tuple(field.name for field in fields(PerSampleResult))


class Entry(NamedTuple):
    """A record, and what became of each sample where that matters later."""

    record: AnyRecord
    per_sample: PerSampleResult | None = None


class Content(NamedTuple):
    """What a file of the journal holds."""

    tensors: dict[str, Tensor]
    said: str


class Keeping(Protocol):
    """Keeps what was measured, stage by stage, or measures it now."""

    def results(
        self, stage: str, measure: Callable[[], Sequence[AttackResult]]
    ) -> list[AttackResult]:
        """The trials of a stage."""
        ...

    def flags(self, stage: str, examine: Callable[[], Sequence[Flag]]) -> list[Flag]:
        """The flags that a stage raised."""
        ...

    def proofs(self, stage: str, prove: Callable[[], CertifiedSamples]) -> CertifiedSamples:
        """What a stage proved."""
        ...

    def counts(self, stage: str, prove: Callable[[], Sequence[Proof]]) -> list[Proof]:
        """How many samples a stage proved, eps by eps."""
        ...


class Unkept:
    """Keeps nothing: measures now."""

    def results(
        self, _stage: str, measure: Callable[[], Sequence[AttackResult]]
    ) -> list[AttackResult]:
        """The trials of a stage."""
        return list(measure())

    def flags(self, _stage: str, examine: Callable[[], Sequence[Flag]]) -> list[Flag]:
        """The flags that a stage raised."""
        return list(examine())

    def proofs(self, _stage: str, prove: Callable[[], CertifiedSamples]) -> CertifiedSamples:
        """What a stage proved."""
        return prove()

    def counts(self, _stage: str, prove: Callable[[], Sequence[Proof]]) -> list[Proof]:
        """How many samples a stage proved, eps by eps."""
        return list(prove())


def _silent() -> None:
    """Nothing to do after a stage."""


@dataclass(frozen=True)
class Journal:
    """Finished measurements in the run's folder, one file a stage.

    A stage that is read counts as many passes as it took when it was measured: what a run
    that was cut took in all is what its stages took, but for the work that the cut undid.

    Attributes:
        folder: The run.
        engine: All processes read, one writes.
        key: Says what is measured; a file of another key is measured anew.
        saved: Is called in the process that writes, when a stage was written.
    """

    folder: RunFolder
    engine: Engine
    key: str
    saved: Callable[[], None] = _silent

    def entries(self, stage: str, measure: Callable[[], Sequence[Entry]]) -> list[Entry]:
        """The entries of a stage: those that were saved, or else measured now and saved."""
        return self._kept(stage, lambda: list(measure()), _packed, _unpacked)

    def results(
        self, stage: str, measure: Callable[[], Sequence[AttackResult]]
    ) -> list[AttackResult]:
        """The trials of a stage, measured once."""
        entries = self.entries(
            stage, lambda: [Entry(result.measurement, result.per_sample) for result in measure()]
        )
        return [_trial(entry) for entry in entries]

    def flags(self, stage: str, examine: Callable[[], Sequence[Flag]]) -> list[Flag]:
        """The flags that a stage raised, examined once."""
        entries = self.entries(stage, lambda: [Entry(flag) for flag in examine()])
        return [entry.record for entry in entries if isinstance(entry.record, Flag)]

    def proofs(self, stage: str, prove: Callable[[], CertifiedSamples]) -> CertifiedSamples:
        """What a stage proved, once."""
        return self._kept(stage, prove, _packed_proofs, _unpacked_proofs)

    def counts(self, stage: str, prove: Callable[[], Sequence[Proof]]) -> list[Proof]:
        """How many samples a stage proved, eps by eps, once."""
        entries = self.entries(stage, lambda: [Entry(proof) for proof in prove()])
        return [entry.record for entry in entries if isinstance(entry.record, Proof)]

    def _kept(
        self,
        stage: str,
        measure: Callable[[], T],
        pack: Callable[[T], Content],
        unpack: Callable[[Content], T],
    ) -> T:
        path = self.folder.checkpoint(f"measured-{stage}")
        if self.engine.broadcast(path.exists()):
            saved = self._read(path, unpack)
            if saved is not None:
                return saved
        with counted() as passes:
            found = measure()
        forward, backward = self.engine.reduce_sum(passes.forward, passes.backward)
        if self.engine.is_main:
            tensors, said = pack(found)
            metadata = {"key": self.key, "records": said}
            metadata |= {"forward": str(forward), "backward": str(backward)}
            content = save(tensors, metadata)
            write_with(path, lambda temporary: temporary.write_bytes(content))
            self.saved()
        self.engine.barrier()
        return found

    def _read(self, path: Path, unpack: Callable[[Content], T]) -> T | None:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                if metadata["key"] != self.key:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            saved = unpack(Content(tensors, metadata["records"]))
            passes = {kind: int(metadata.get(kind, 0)) for kind in ("forward", "backward")}
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}: delete it and resume") from error
        if self.engine.is_main:
            note(**passes)
        return saved


def _packed(entries: Sequence[Entry]) -> Content:
    tensors: dict[str, Tensor] = {}
    for number, entry in enumerate(entries):
        for part in _PARTS if entry.per_sample else ():
            value = getattr(entry.per_sample, part)
            if value is not None:
                tensors[f"{number}/{part}"] = value.contiguous().clone()
    records = _RECORDS.dump_python([entry.record for entry in entries], mode="json")
    return Content(tensors, json.dumps(records))


def _unpacked(content: Content) -> list[Entry]:
    records = _RECORDS.validate_json(content.said)
    return [
        Entry(record, _outcome(number, content.tensors)) for number, record in enumerate(records)
    ]


_TENSORS = ("certified", "refuted", "counterexamples")


def _packed_proofs(proofs: CertifiedSamples) -> Content:
    said = {field.name: getattr(proofs, field.name) for field in fields(proofs)}
    return Content({name: said.pop(name).contiguous() for name in _TENSORS}, json.dumps(said))


def _unpacked_proofs(content: Content) -> CertifiedSamples:
    certified, refuted, counterexamples = (content.tensors[name] for name in _TENSORS)
    said = json.loads(content.said)
    return CertifiedSamples(certified, refuted=refuted, counterexamples=counterexamples, **said)


def _outcome(number: int, tensors: dict[str, Tensor]) -> PerSampleResult | None:
    if f"{number}/predicted" not in tensors:
        return None
    return PerSampleResult(**{part: tensors.get(f"{number}/{part}") for part in _PARTS})  # type: ignore[arg-type]


def _trial(entry: Entry) -> AttackResult:
    if not isinstance(entry.record, Measurement) or not isinstance(
        entry.per_sample, PerSampleResult
    ):
        raise RunError(f"the journal holds no trial where one was saved: {entry.record.kind}")
    return AttackResult(entry.record, entry.per_sample)


def images_of(per_sample: PerSampleResult) -> Tensor:
    """The images that a model was shown.

    Raises:
        RunError: If they were not kept.
    """
    if per_sample.x_adv is None:
        raise RunError("these images were not kept")
    return per_sample.x_adv.to(torch.float32)
