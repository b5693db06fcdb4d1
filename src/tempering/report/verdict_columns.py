"""The columns of `verdicts.npz`: what can stand in them, and whether they fit the summary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempering.core.arrays import read_arrays
from tempering.core.class_records import PerClass
from tempering.core.errors import DamagedArraysError
from tempering.core.records import Assessment

Columns = dict[str, NDArray[Any]]

_KINDS = {
    "index": "iu",
    "id": "U",
    "y": "iu",
    "clean_predicted": "iu",
    "predicted": "iu",
    "clean": "b",
    "robust": "b",
    "certified": "b",
    "broken_by": "U",
    "distance": "f",
    "queries": "iu",
    "backwards": "iu",
}
"""Column -> the kinds of type that it may have, as NumPy writes them."""
_IMPLIED = (("robust", "clean"), ("certified", "robust"))
"""Where the first holds the second does."""


def read_verdict_columns(path: Path, summary: Assessment) -> Columns:
    """Read the verdicts of a run, and check that they are possible.

    Args:
        path: `verdicts.npz`.
        summary: Of the same run.

    Returns:
        All columns, of one length.

    Raises:
        DamagedArraysError: If the file cannot be read, a column is missing or has another type or
            length, or a value is impossible; names the column.
    """
    columns = read_arrays(path)
    length = columns["index"].shape[:1] if "index" in columns else ()
    for name, kinds in _KINDS.items():
        if name not in columns:
            raise DamagedArraysError(f"it has no {name}")
        column = columns[name]
        if column.dtype.kind not in kinds or len(length) != 1 or column.shape != length:
            raise DamagedArraysError(
                f"{name} has type {column.dtype} and shape {column.shape}, and one value a sample "
                f"of index, shape {length}, is expected"
            )
    for fault in (*_impossible(columns, summary.per_class), *_contradicting(columns)):
        raise DamagedArraysError(fault)
    return columns


def _impossible(columns: Columns, per_class: PerClass | None) -> Iterator[str]:
    """Values that no evaluation writes."""
    ids = columns["id"]
    if len(np.unique(ids)) < len(ids):
        yield f"id has {len(np.unique(ids))} different values of {len(ids)}"
    most = {"y": np.inf, "clean_predicted": np.inf, "predicted": np.inf}
    if per_class is not None:
        outputs = len(per_class.outputs) - 1
        most = {
            "y": len(per_class.classes) - 1,
            "clean_predicted": outputs,
            "predicted": outputs,
        }
    for name in (*most, "distance", "queries", "backwards"):
        high = most.get(name, np.inf)
        wrong = ~((columns[name] >= 0) & (columns[name] <= high))
        if wrong.any():
            row = int(wrong.argmax())
            possible = "at least 0" if high == np.inf else f"0 to {high:g}"
            yield f"{name} of sample {row} is {columns[name][row]}, and {possible} is possible"


def _contradicting(columns: Columns) -> Iterator[str]:
    """Samples whose verdicts exclude each other."""
    for less, more in _IMPLIED:
        wrong = columns[less] & ~columns[more]
        if wrong.any():
            yield f"sample {int(wrong.argmax())} is {less} where it is not {more}"


def verdict_disagreements(columns: Columns, summary: Assessment) -> Iterator[str]:
    """What possible verdicts say against each other and the summary.

    Args:
        columns: As `read_verdict_columns` returns them.
        summary: Of the same run.
    """
    clean, robust, y = columns["clean"], columns["robust"], columns["y"]
    if not np.array_equal(columns["index"], np.arange(summary.n)):
        yield f"index of {len(y)} samples is not 0 to {summary.n - 1}, as summary.json says"
    for name, count in (
        ("clean", summary.clean_correct),
        ("robust", summary.robust_correct),
        ("certified", summary.certified_correct),
    ):
        if int(columns[name].sum()) != count:
            yield f"{name} holds for {int(columns[name].sum())}, and summary.json has {count}"
    for name, column in (("clean", clean), ("robust", robust)):
        told = "clean_predicted" if name == "clean" else "predicted"
        right = columns[told] == y
        if not np.array_equal(right, column):
            yield (
                f"{told} is y for {int(right.sum())}, and {name} holds for {int(column.sum())}: "
                f"sample {int((right != column).argmax())} differs"
            )
    broken = columns["broken_by"] != ""
    if not np.array_equal(broken & clean, clean & ~robust):
        yield (
            f"broken_by names an attack for {int((broken & clean).sum())} clean samples, and "
            f"{int((clean & ~robust).sum())} are not robust"
        )
    if summary.per_class is not None:
        matrix = np.zeros((len(summary.per_class.classes), len(summary.per_class.outputs)), int)
        np.add.at(matrix, (y, columns["predicted"]), 1)
        if matrix.tolist() != summary.per_class.matrix():
            yield "y and predicted count other confusions than summary.json"
