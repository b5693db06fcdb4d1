"""Read the records, summary and images of a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tempering.core.errors import RunError
from tempering.core.explanation_records import Explanation
from tempering.core.records import AnyRecord, Assessment, Summary, load_records
from tempering.core.scan_records import ScanRecord
from tempering.report.pictures import Pictures, load_pictures

VERDICTS = "verdicts.npz"
"""The verdicts on each sample, in the folder of an evaluation."""
SCAN, SCAN_PAGE = "scan/scan.json", "scan/scan.html"
"""The scan of the training data of a run, in its folder."""
EXPLANATION = "explain.json"
"""The record of `temper explain`."""


@dataclass(frozen=True)
class Run:
    """The content of a run folder.

    Attributes:
        folder: Where it is.
        name: Name of the folder.
        records: All records.
        summary: The summary.
        pictures: The images, if any.
        explanation: What `temper explain` found out; None if it was not run.
        scan: Of the training data; None if there was none.
    """

    folder: Path
    name: str
    records: Sequence[AnyRecord]
    summary: Summary
    pictures: Pictures
    explanation: Explanation | None = None
    scan: ScanRecord | None = None


def read_run(folder: Path) -> Run:
    """Read the records, the summary and the pictures of a run.

    Args:
        folder: Holds `records.jsonl`, `summary.json` and, if images were kept, `gallery.npz`.

    Raises:
        RunError: If a file is missing or damaged; names it.
    """
    return Run(
        folder=folder,
        name=folder.resolve().name,
        records=load_records(folder / "records.jsonl"),
        summary=load_summary(folder / "summary.json"),
        pictures=load_pictures(folder / "gallery.npz"),
        explanation=load_explanation(folder / EXPLANATION),
        scan=load_scan(folder / SCAN),
    )


def load_explanation(path: Path) -> Explanation | None:
    """Read `explain.json`; None if there is none.

    Raises:
        RunError: If the file is damaged; names it.
    """
    if not path.exists():
        return None
    try:
        return Explanation.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} is damaged: run temper explain again to rewrite it") from error


def load_scan(path: Path) -> ScanRecord | None:
    """Read `scan.json`; None if there is none.

    Raises:
        RunError: If the file is damaged; names it.
    """
    if not path.exists():
        return None
    try:
        return ScanRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} is damaged: start a new run to rewrite it") from error


def load_summary(path: Path) -> Summary:
    """Read `summary.json`.

    Raises:
        RunError: If the file is missing or damaged; names it.
    """
    try:
        text = path.read_bytes()
        kind = Assessment if b'"by_attack"' in text else Summary
        return kind.model_validate_json(text)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}: give a run folder") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its text"
        raise RunError(f"{path}: {where}: {first['msg']}: evaluate again to rewrite it") from error
