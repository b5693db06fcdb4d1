"""Atomic writing of files: after a crash the old or the new content is there."""

from __future__ import annotations

import hashlib
import os
import shutil
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


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write into a temporary folder beside `path`, then rename it to `path`.

    Args:
        path: The folder; it must not exist, and the one that it is in is created if needed.
        fill: Writes all files into the folder it is called with.

    Raises:
        RunError: If the folder exists, its place is not writable or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            fill(temporary)
            temporary.chmod(0o755)
            if path.exists():
                raise RunError(f"{path} exists: give another name")
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}: "
            "give a folder with write permission and free space"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_with(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def point_to(link: Path, name: str) -> bool:
    """Point a link at a file or folder beside it, atomically.

    Where symbolic links are refused, as on Windows, a text file with the name stands for the
    link; `followed` reads it. What a user keeps under the name of the link is left alone.

    Args:
        link: The link; what it points at may be replaced.
        name: Name of the target, in the folder of the link.

    Returns:
        Whether it points there; False if something else has the name.

    Raises:
        RunError: If the folder is not writable.
    """
    if link.exists() and not link.is_symlink() and _target(link) is None:
        return False
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        temporary.symlink_to(name)
        temporary.replace(link)
    except (OSError, NotImplementedError):
        temporary.unlink(missing_ok=True)
        write_text(link, f"{name}\n")
    return True


def followed(path: Path) -> Path:
    """What a path means: the target of a text file that stands for a link, else the path itself.

    Example:
        >>> followed(Path("runs/mine")).name
        'mine'
    """
    target = _target(path)
    return path if target is None else target


def _target(link: Path) -> Path | None:
    """The folder that a file made by `point_to` names; None if it is no such file."""
    if link.suffix or link.is_symlink() or not link.is_file() or link.stat().st_size > _LONGEST:
        return None
    try:
        name = link.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    plain = name == Path(name).name and name not in ("", ".", "..")
    return link.with_name(name) if plain else None


_LONGEST = 300
"""Bytes of a file that holds a name."""


def file_hash(path: Path) -> str:
    """Hash of a file's content, 16 hexadecimal digits.

    Raises:
        RunError: If it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
