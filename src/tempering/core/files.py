"""Atomic writing of files: after a crash the old or the new content is there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tempering.core.errors import RunError


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file in the same folder, then rename it to `path`.

    Args:
        path: The file; its folder is created if needed.
        write: Writes the whole content to the path it is called with.

    Raises:
        RunError: If the folder is not writable or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}: "
            "give a folder with write permission and free space"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_with(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
