"""Memory of activations, kept from one pass to the next."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Names of settings in glibc's malloc.h."""
_KEPT = 2**31 - 1
_LARGE = 512 * 2**20
_AHEAD = 64 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next pass, for the whole process.

    By default glibc gives large blocks back to the system at once. A pass over a batch of
    images then spends up to a quarter of its time on fresh pages, which the system clears
    one by one. Blocks beyond 512 MiB still go back; the process holds what its largest
    pass took, at most 2 GiB more than it uses. Only the main thread gains.

    Returns:
        Whether there is such a library (Linux with glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        settings = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = ((_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _AHEAD))
    taken = [settings(name, value) for name, value in wanted]
    return all(answer == 1 for answer in taken)
