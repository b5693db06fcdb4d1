"""The runs of a folder: what each was, what it found, and which cannot be read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from tempering.core.errors import RunError
from tempering.core.records import Provenance, Summary
from tempering.core.system_records import SystemTable
from tempering.core.threat_words import with_value
from tempering.core.tuning_records import TuningStudy
from tempering.report.reading import load_summary

_KIND = re.compile(r"(?:temper|tempering)[ .](harden|evaluate|reproduce|benchmark|tune)")
_SUMMARY, _RECORDS, _BEGUN = "summary.json", "records.jsonl", "checkpoint/run.json"
_TABLE, _STUDY = "benchmark.json", "study.json"


Status = Literal["finished", "unfinished", "damaged"]


@dataclass(frozen=True)
class RunEntry:
    """One run of a folder.

    Attributes:
        path: Its folder.
        status: `finished`, `unfinished` (it can be resumed) or `damaged`.
        date: When it was begun, in UTC; of a run that does not say, when it was last written.
        command: What was called; empty if unknown.
        found: The results of a finished run.
        problem: What is wrong with a damaged run.
        table: The rows of a benchmark.
        study: The trials of a search.
    """

    path: Path
    status: Status
    date: datetime
    command: str = ""
    found: Summary | None = None
    problem: str = ""
    table: SystemTable | None = None
    study: TuningStudy | None = None

    @property
    def kind(self) -> str:
        """`harden`, `evaluate`, `reproduce`, `benchmark` or `tune`; empty if unknown."""
        match = _KIND.search(self.command)
        return match[1] if match else ""

    @property
    def summary(self) -> str:
        """The run in one sentence, for people."""
        if self.status == "damaged":
            return f"damaged: {self.problem}"
        if self.table is not None:
            done = len(self.table.rows)
            told = (
                f"benchmark: {done} systems on {self.table.data}, {with_value(self.table.threat)}, "
                f"budget {self.table.budget}"
            )
            unfinished = "; unfinished: go on with temper benchmark --resume"
            return told + unfinished * (self.status == "unfinished")
        if self.study is not None:
            return _searched(self.study)
        if self.found is None:
            return f"unfinished: go on with temper {self.kind or 'harden'} --resume"
        bounds, found = self.found.robust_accuracy, self.found
        return (
            f"{self.kind or 'run'}: {found.model} on {found.data}, {with_value(found.threat)}: "
            f"clean {100 * found.clean_accuracy:.1f} %, robust {100 * bounds.lower:.1f} to "
            f"{100 * bounds.upper:.1f} % of {found.n} images"
        )

    def facts(self) -> dict[str, Any]:
        """What a list says beside that."""
        facts: dict[str, Any] = {
            "status": self.status,
            "kind": self.kind,
            "date": self.date.isoformat(timespec="seconds"),
            "command": self.command,
        }
        if self.found is not None:
            facts |= self.found.model_dump(
                include={"model", "data", "threat", "n", "clean_accuracy", "robust_accuracy"}
            )
        return facts


def _searched(study: TuningStudy) -> str:
    """A search in one sentence."""
    told = (
        f"tune: {len(study.trials)} trials on {study.data}, {with_value(study.threat)}, "
        f"{study.goal} validation accuracy"
    )
    best = study.best
    if best is not None and best.value is not None:
        told += f" at best {100 * best.value.fraction:.1f} % by {best.objective}"
    return told + "; unfinished: go on with temper tune --resume" * (not study.finished)


def list_runs(folder: Path) -> list[RunEntry]:
    """The runs of a folder, newest first; one that cannot be read is listed as damaged.

    Args:
        folder: Of all runs, such as `runs`; one that is not there holds none.

    Raises:
        RunError: If the folder cannot be read.
    """
    if not folder.exists():
        return []
    try:
        paths = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError as error:
        raise RunError(f"cannot read {folder}: {error.strerror}: give a folder of runs") from error
    return sorted((_entry(path) for path in paths), key=lambda one: one.date, reverse=True)


def _entry(path: Path) -> RunEntry:
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    made: Provenance | None = None
    try:
        if (path / _TABLE).exists():
            table = SystemTable.model_validate_json((path / _TABLE).read_bytes())
            asked = json.loads((path / _BEGUN).read_bytes())["systems"]
            status: Status = "finished" if len(table.rows) == len(asked) else "unfinished"
            return RunEntry(path, status, written, table.command, table=table)
        if (path / _STUDY).exists():
            study = TuningStudy.model_validate_json((path / _STUDY).read_bytes())
            status = "finished" if study.finished else "unfinished"
            return RunEntry(path, status, written, study.command, study=study)
        if (path / _RECORDS).exists():
            made = _provenance(path / _RECORDS)
        if (path / _SUMMARY).exists():
            found = load_summary(path / _SUMMARY)
            if made is None:
                raise ValueError(f"{_RECORDS} is missing")
            date = datetime.fromisoformat(made.created)
            return RunEntry(path, "finished", date, made.command, found)
        if not (path / _BEGUN).exists():
            raise ValueError(f"{_SUMMARY} is missing")
        begun = json.loads((path / _BEGUN).read_bytes())
        command = begun.get("command", "temper evaluate") if isinstance(begun, dict) else ""
    except (OSError, ValueError, KeyError, TypeError, RunError) as error:
        return RunEntry(path, "damaged", written, problem=_reason(error))
    date = written if made is None else datetime.fromisoformat(made.created)
    return RunEntry(path, "unfinished", date, str(command))


def _provenance(records: Path) -> Provenance:
    """What a run was made of, its first record."""
    with records.open(encoding="utf-8") as lines:
        return Provenance.model_validate_json(next(lines, ""))


def _reason(error: Exception) -> str:
    """What is wrong, in one line that names the file."""
    if isinstance(error, OSError):
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    if isinstance(error, RunError):
        return f"{_SUMMARY} cannot be read"
    if isinstance(error, ValidationError):
        files = {SystemTable.__name__: _TABLE, TuningStudy.__name__: _STUDY}
        return f"{files.get(error.title, _RECORDS)} cannot be read"
    return str(error).splitlines()[0]
