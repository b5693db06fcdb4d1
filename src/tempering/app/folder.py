"""The folder of a run: what lies where, and who may write there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, chdir, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tempering.core.errors import RunError, UsageError
from tempering.core.files import followed, point_to, write_text
from tempering.core.locking import locked
from tempering.core.records import Record, dump_records
from tempering.report.reading import VERDICTS as VERDICTS

LATEST = "latest"
SETTINGS = {"command", "recipe", "weights", "data_hash"}
"""What a run's settings hold at least."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class RunFolder:
    """Paths within one run's folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def settings(self) -> Path:
        """What the run was asked for; `--resume` reads it."""
        return self.path / "checkpoint" / "run.json"

    @property
    def records(self) -> Path:
        """All measurements."""
        return self.path / "records.jsonl"

    @property
    def summary(self) -> Path:
        """What the run found."""
        return self.path / "summary.json"

    @property
    def gallery(self) -> Path:
        """Pictures for the report."""
        return self.path / "gallery.npz"

    @property
    def given_weights(self) -> Path:
        """Weights of a network that was given as a module, from which `resume` starts."""
        return self.settings.parent / "given.safetensors"

    def checkpoint(self, name: str) -> Path:
        """Where a training or a measurement is saved."""
        return self.path / "checkpoint" / f"{name}.safetensors"

    def write_records(self, records: Iterable[Record]) -> None:
        """Write all records of the run so far."""
        write_text(self.records, dump_records(records))

    @property
    def seconds(self) -> float:
        """Time that earlier parts of this run took, as far as it was noted."""
        try:
            return float(self._clock.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0.0

    def note_seconds(self, seconds: float) -> None:
        """Note the time that this run has taken so far."""
        write_text(self._clock, f"{seconds:.3f}\n")

    @property
    def _clock(self) -> Path:
        return self.path / "checkpoint" / "seconds"

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Write what the run was asked for."""
        write_text(self.settings, json.dumps(settings, indent=2) + "\n")

    def read_settings(self) -> dict[str, Any]:
        """Read what the run was asked for.

        Raises:
            RunError: If this is no run that can be resumed.
        """
        try:
            settings = json.loads(self.settings.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.path} is no run to resume: {self.settings} cannot be read: "
                "give a folder that `temper harden` has begun"
            ) from error
        if not isinstance(settings, dict) or not settings.keys() >= SETTINGS:
            raise RunError(f"{self.settings} is damaged: start a new run")
        return settings

    def locked(self) -> AbstractContextManager[None]:
        """Keep other jobs out of this folder.

        Raises:
            RunError: If another job is at work in it.
        """
        busy = f"another job is at work in {self.path}: wait for it, or give another name"
        return locked(self.path / "checkpoint" / ".lock", busy)


def new_folder(name: str | None, data: str, runs: Path) -> RunFolder:
    """Make the folder of a new run.

    Args:
        name: Of the run; by default the data's name and the time.
        data: Address of the data.
        runs: Folder of all runs.

    Raises:
        UsageError: If the name is none, or there is such a run.
        RunError: If the folder cannot be made.
    """
    if name is None:
        stem = re.sub(r"[^a-z0-9]+", "-", Path(data.rpartition(":")[2]).stem.lower()).strip("-")
        stem = f"{stem or 'run'}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        names = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
        name = next(name for name in names if not (runs / name).exists())
    if not _NAME.fullmatch(name) or name == LATEST:
        raise UsageError(f"name {name!r}: give letters, digits, dots and dashes, such as mnist-1")
    path = runs / name
    if path.exists():
        raise UsageError(f"there is a run {path} already: give another name, or resume that run")
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise RunError(
            f"cannot make {path}: {error.strerror}: give a folder with write permission"
        ) from error
    return RunFolder(path)


def old_folder(path: Path) -> RunFolder:
    """The folder of a run that was begun.

    Raises:
        RunError: If there is none.
    """
    folder = followed(path)
    if not folder.is_dir():
        raise RunError(f"no run at {path}: give the folder of a run that was begun")
    return RunFolder(folder.resolve())


@contextmanager
def within(folder: str | None) -> Iterator[None]:
    """Let relative paths start in the folder that a run was begun in, if it is still there."""
    if folder is None or not Path(folder).is_dir():
        yield
        return
    with chdir(folder):
        yield


def point_latest(folder: RunFolder) -> None:
    """Let `latest`, beside a run's folder, point at it.

    Raises:
        RunError: If the folder of runs is not writable.
    """
    point_to(folder.path.parent / LATEST, folder.path.name)
