"""Recorded rows of benchmarks; recorded cells are not measured again."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import tempering
from tempering.attacks.base import Attack
from tempering.core.files import write_text

HERE = Path(__file__).parent
RECORDS = HERE / "records"
CACHE = HERE / ".cache"
Row = dict[str, Any]


def engine_hash(attacks: Iterable[Attack]) -> str:
    """A hash of the sources that some attacks consist of: rows of other sources are stale.

    Of each attack's module, and of all in this package that it imports, directly or not.

    Example:
        >>> from tempering.attacks import FGSM, Square
        >>> engine_hash([FGSM()]) == engine_hash([Square()])
        False
    """
    return sources_hash(type(attack).__module__ for attack in attacks)


def sources_hash(modules: Iterable[str]) -> str:
    """A hash of some modules, and of all in this package that they import, directly or not.

    Args:
        modules: By their full names, such as `tempering.certification.certify_samples`.
    """
    root = Path(tempering.__file__).parent
    seen: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = root.parent / Path(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module in seen or not path.is_relative_to(root) or not path.exists():
            continue
        seen[module] = path.read_bytes()
        waiting += _imports(seen[module])
    digest = hashlib.sha256()
    for module, source in sorted(seen.items()):
        digest.update(module.encode() + source)
    return digest.hexdigest()[:12]


def _imports(source: bytes) -> Iterator[str]:
    """Modules of this package that a source names, `from a import b` as a and as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("tempering."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tempering."):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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

        def identity(row: Mapping[str, Any]) -> Row:
            return {name: value for name, value in row.items() if name not in stale}

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
