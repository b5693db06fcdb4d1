"""Memory of activations, kept from one pass to the next."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Names of settings in glibc's malloc.h."""
_KEPT = 2**31 - 1
_LARGE = (512 * 2**20, 32 * 2**20)
"""Older versions refuse more than the second."""
_AHEAD = 64 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next pass, for the whole process.

    By default glibc gives large blocks back to the system at once. A pass over a batch of
    images then spends up to a quarter of its time on fresh pages, which the system clears
    one by one. Blocks beyond 512 MiB still go back (32 MiB with older versions); the
    process keeps what its largest pass took. Only the main thread gains.

    Returns:
        Whether there is such a library (Linux with glibc), and it agreed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        settings = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    if not any(settings(_MMAP_THRESHOLD, size) for size in _LARGE):
        return False  # the others alone would freeze a threshold that is too low
    return bool(settings(_TRIM_THRESHOLD, _KEPT)) and bool(settings(_TOP_PAD, _AHEAD))
