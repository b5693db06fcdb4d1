"""A lock on a file, held by one process at a time and freed by the system when it ends."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from tempering.core.errors import RunError


@contextmanager
def locked(file: Path, busy: str) -> Iterator[None]:
    """Hold a lock on a file; it is created if needed.

    Uses `fcntl` on Unix and `msvcrt` on Windows. Where neither exists, or the file system
    has no locks, a warning says so and there is none.

    Args:
        file: The file; its folder is created if needed.
        busy: Message if another process holds the lock.

    Raises:
        RunError: If another process holds the lock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        try:
            has_lock = _lock(handle.fileno())
        except (BlockingIOError, PermissionError) as error:
            raise RunError(busy) from error
        except OSError:
            has_lock = False
        if not has_lock:
            warnings.warn(
                f"no file locks here: do not run two jobs in {file.parent.parent} at once",
                RuntimeWarning,
                stacklevel=3,
            )
        yield


def _lock(handle: int) -> bool:
    """Lock an open file at once; False if the platform has no locks.

    Raises:
        BlockingIOError, PermissionError: If another process holds the lock.
    """
    lock: Callable[..., object]
    mode: tuple[int, ...]
    try:
        fcntl = import_module("fcntl")
        lock, mode = fcntl.flock, (fcntl.LOCK_EX | fcntl.LOCK_NB,)
    except ImportError:
        try:
            msvcrt = import_module("msvcrt")
        except ImportError:
            return False
        lock, mode = msvcrt.locking, (msvcrt.LK_NBLCK, 1)
    lock(handle, *mode)
    return True
