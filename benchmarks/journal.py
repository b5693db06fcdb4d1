"""Rows of benchmarks: what was recorded, and what need not be measured again."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import tempering
from tempering.core.files import write_text

HERE = Path(__file__).parent
RECORDS = HERE / "records"
CACHE = HERE / ".cache"
Row = dict[str, Any]


def engine_hash() -> str:
    """A hash of the sources that an attack consists of: rows of other sources are stale.

    Example:
        >>> len(engine_hash())
        12
    """
    root = Path(tempering.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*(root / "attacks").rglob("*.py"), *(root / "core").rglob("*.py")]):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def environment() -> Row:
    """Where and with what rows were measured."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


class Journal:
    """Rows in a file, one JSON object a line; a cell's rows are written together.

    Attributes:
        path: The file.
        rows: All rows, oldest first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            self.rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def holds(self, cell: Mapping[str, Any]) -> bool:
        """Whether a cell was measured under the same settings."""
        return any(row["cell"] == cell for row in self.rows)

    def put(self, cell: Mapping[str, Any], rows: Sequence[Row], stale: Sequence[str]) -> None:
        """Write a cell's rows; those of the same cell under stale settings are dropped.

        Args:
            cell: The settings that make it this cell.
            rows: What was measured.
            stale: Settings that may differ in what is dropped.
        """

        def identity(one: Mapping[str, Any]) -> Row:
            return {name: value for name, value in one.items() if name not in stale}

        kept = [row for row in self.rows if identity(row["cell"]) != identity(cell)]
        self.rows = [*kept, *({"cell": dict(cell), **row} for row in rows)]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))


def say(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Minutes and seconds.

    Example:
        >>> clock(95)
        '1:35'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
