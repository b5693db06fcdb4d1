"""The scan of training data before a run of `harden`: what it drops, and what it says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from tempering.app.folder import RunFolder
from tempering.app.scan import FPR, KEEP, scan, write_scan
from tempering.core.engine import Engine
from tempering.core.errors import DataError
from tempering.core.notes import keep_note, note
from tempering.core.scan_records import ScanRecord
from tempering.data.keep import KeepMask, read_keep_mask
from tempering.data.splits import Splits
from tempering.poisoning.scan import require_scannable
from tempering.report.reading import SCAN, load_scan

ScanChoice = Literal["fast", "thorough", "off"]

SCANS_OF: dict[str, tuple[str, ...] | None] = {
    "fast": ("hygiene", "clean-base"),
    "thorough": None,
}
"""Choice -> names of scans; None for all."""
FEWEST = int(1 / FPR)
"""Training samples at least: with fewer the rate allows less than one suspect."""
_OF = "scan of the training data: "
MOST_DROPPED = 0.25
"""Share of the training samples that a scan may drop; beyond it a person must look."""


def require_scan(choice: ScanChoice, data: Splits) -> None:
    """Refuse data that cannot be scanned, before anything runs.

    Raises:
        DataError: If there are too few samples, of a class or of all, or one class alone.
    """
    if choice == "off":
        return
    if len(data.train) < FEWEST:
        raise DataError(
            f"a {choice} scan of {len(data.train)} training samples: give at least {FEWEST}, or "
            "--scan off"
        )
    require_scannable(data.train)


def without_suspects(
    data: Splits, choice: ScanChoice, seed: int, folder: RunFolder, engine: Engine
) -> Splits:
    """The data without the samples that the scan of this run drops, and a note that says so.

    The first call scans and writes `scan/` into the run's folder; later ones read it.

    Raises:
        DataError: If the scan would drop too much, or the folder holds the scan of other data.
    """
    if choice == "off":
        return data
    place = (folder.path / SCAN).parent
    if engine.is_main and not place.exists():
        _scan_into(place, data, choice, seed)
    engine.barrier()
    record = load_scan(folder.path / SCAN)
    if record is None:
        raise DataError(f"{place} holds no scan: start a new run")
    mask = read_keep_mask(place / KEEP)
    _require_enough(record, place)
    tell = note if record.verdict == "suspicious" else keep_note
    tell(scan_in_words(record))
    return mask.apply(data)


def told_scan(run: Path) -> str | None:
    """What the scan of a run found; None if it scanned nothing."""
    record = load_scan(run / SCAN)
    return None if record is None else scan_in_words(record).removeprefix(_OF)


def scan_in_words(record: ScanRecord) -> str:
    """The verdict, the suspects and what was dropped, in a line."""
    found = (
        f"{_OF}{record.verdict}: {record.suspects:,} of {record.n:,} "
        f"samples suspect, by chance alone about {record.expected:,.0f}"
    )
    if record.verdict != "suspicious":
        return f"{found}; nothing was dropped"
    kinds = ", ".join(dict.fromkeys(suspect.like for suspect in record.top))
    lost = ", ".join(f"{row.suspects:,} of class {row.name}" for row in record.losses)
    return f"{found}, like {kinds}; dropped {lost}; --scan off keeps them"


def _scan_into(place: Path, data: Splits, choice: ScanChoice, seed: int) -> None:
    result = scan(data, FPR, scans=SCANS_OF[choice], seed=seed)
    everything = torch.ones(len(data.train), dtype=torch.bool)
    used = result.scan.keep if result.record.dropped else everything
    write_scan(result, place, KeepMask.of(data, used))


def _require_enough(record: ScanRecord, place: Path) -> None:
    """Refuse to drop so much that the scan is more likely wrong than the data."""
    if record.dropped > MOST_DROPPED * record.n:
        raise DataError(
            f"the scan would drop {record.dropped:,} of {record.n:,} training samples: look at "
            f"{place / 'scan.html'}, and give --keep with what to use, or --scan off"
        )
    for row in record.losses:
        if row.suspects == row.n:
            raise DataError(
                f"the scan would drop all {row.n:,} samples of class {row.name}: look at "
                f"{place / 'scan.html'}, and give --keep with what to use, or --scan off"
            )
