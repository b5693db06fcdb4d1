"""Use case `scan stream`: batches scored by a filter as they come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from tempering.app.job import job
from tempering.app.scan import all_of
from tempering.core.arrays import read_arrays
from tempering.core.errors import DamagedArraysError, DataError, UsageError
from tempering.data.dataset import Dataset
from tempering.data.loading import load
from tempering.poisoning.stream_filter import StreamFilter

ALARM = 0.001
"""Share of clean batches that may raise an alarm."""


class BatchReport(BaseModel):
    """What a filter said of a batch.

    Attributes:
        batch: The file.
        n: Its images.
        suspects: Rows of the suspects.
        expected: Suspects that chance alone would give.
        chance: Probability of so many suspects, or more, in a clean batch.
        alarm: Whether this probability is at most the rate of alarms.
        images_per_second: Speed of reading and scoring.
    """

    model_config = ConfigDict(frozen=True)

    batch: str
    n: int
    suspects: list[int]
    expected: float
    chance: float
    alarm: bool
    images_per_second: float


class UnreadBatch(BaseModel):
    """A batch that could not be scored.

    Attributes:
        batch: The file.
        error: Why.
    """

    model_config = ConfigDict(frozen=True)

    batch: str
    error: str


class StreamTotals(BaseModel):
    """What a stream came to.

    Attributes:
        batches: Batches that were scored.
        unread: Batches that could not be read.
        n: Images that were scored.
        suspects: Suspects among them.
        alarms: Batches with an alarm.
        first_error: Why the first batch that could not be read was not; empty if all could.
    """

    model_config = ConfigDict(frozen=True)

    batches: int = 0
    unread: int = 0
    n: int = 0
    suspects: int = 0
    alarms: int = 0
    first_error: str = ""

    def plus(self, report: BatchReport | UnreadBatch) -> StreamTotals:
        """The same with one more batch."""
        if isinstance(report, UnreadBatch):
            first = self.first_error or report.error
            return self.model_copy(update={"unread": self.unread + 1, "first_error": first})
        return self.model_copy(
            update={
                "batches": self.batches + 1,
                "n": self.n + report.n,
                "suspects": self.suspects + len(report.suspects),
                "alarms": self.alarms + report.alarm,
            }
        )

    def require_some(self) -> None:
        """Refuse a stream of which no batch could be read.

        Raises:
            DataError: With the reason for the first batch.
        """
        if self.unread and not self.batches:
            raise DataError(f"none of {self.unread} batches could be read: {self.first_error}")


@job()
def fit_filter(clean: str, out: Path, seed: int = 0) -> StreamFilter:
    """Fit a filter to clean data, all parts together, and write it.

    Raises:
        UsageError: If the file exists, or does not end in `.npz`.
        DataError: If there are no such data, or too few.
    """
    if out.suffix != ".npz":
        raise UsageError(f"--out {out} for a filter: give a file that ends in .npz")
    if out.exists():
        raise UsageError(f"--out {out} exists: give another name")
    fitted = StreamFilter.fit(all_of(load(clean, seed=seed)), seed)
    fitted.save(out)
    return fitted


@dataclass(frozen=True, eq=False)
class Stream:
    """Batches that a filter scores one after the other; one is in memory at a time.

    Attributes:
        fitted: The filter.
        fpr: Share of clean images that may be suspect.
        alarm_rate: Share of clean batches that may raise an alarm.
    """

    fitted: StreamFilter
    fpr: float = 0.01
    alarm_rate: float = ALARM

    def scored(self, paths: Iterable[Path]) -> Iterator[BatchReport | UnreadBatch]:
        """Score the batches in these files; one that is damaged or of other images is passed over.

        Raises:
            UsageError: If the false-positive rate is finer than the filter can show.
        """
        for path in paths:
            started = time.monotonic()
            try:
                x, y = _read(path, self.fitted.classes)
                seconds = max(time.monotonic() - started, 1e-9)
                report: BatchReport | UnreadBatch = self._judged(str(path), x, y, seconds)
            except DataError as error:
                report = UnreadBatch(batch=str(path), error=str(error))
            yield report

    def _judged(self, name: str, x: Tensor, y: Tensor | None, seconds: float) -> BatchReport:
        started = time.monotonic()
        try:
            done = self.fitted.score(x, y, self.fpr)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        seconds += time.monotonic() - started
        return BatchReport(
            batch=name,
            n=len(x),
            suspects=done.suspects.nonzero()[:, 0].tolist(),
            expected=self.fpr * len(x),
            chance=done.chance,
            alarm=done.chance <= self.alarm_rate,
            images_per_second=len(x) / seconds,
        )


def batch_files(folder: Path) -> list[Path]:
    """The batches in a folder, by name.

    Raises:
        DataError: If there is none.
    """
    files = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    if not files:
        raise DataError(f"no .npz in {folder}: give a folder of batches, or - for names on stdin")
    return files


def _read(path: Path, classes: tuple[str, ...]) -> tuple[Tensor, Tensor | None]:
    """Images and, if there are some, labels of a batch."""
    if not path.is_file():
        raise DataError(f"no batch {path}: give an .npz with x, and y if there are labels")
    try:
        arrays = read_arrays(path)
    except DamagedArraysError as error:
        raise DataError(f"cannot read {path}: {error}: give an .npz with x") from error
    if "x" not in arrays:
        raise DataError(f"{path} has no array x: give images")
    y = arrays.get("y")
    n = len(np.atleast_1d(arrays["x"]))
    labels = np.zeros(n, dtype=np.int64) if y is None else y
    held = Dataset.of(arrays["x"], labels, classes, str(path))
    return held.x, None if y is None else held.y
